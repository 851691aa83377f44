import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { runAgent } from "../../agent/agent.ts";
import type { Clock } from "../../agent/clock.ts";
import { readCredentials } from "../../agent/control/credentials.ts";
import { openJournal } from "../../agent/journal.ts";
import type { Log } from "../../agent/log.ts";
import type { PolicySource } from "../../agent/policy/file.ts";
import { Policy } from "../../agent/policy/policy.ts";
import { Secrets } from "../../agent/redaction/secrets.ts";
import { createProcessRuntime } from "../../agent/runtime/process/process.ts";
import type { Runtime } from "../../agent/runtime/runtime.ts";
import { FakeControl } from "../support/fake-control.ts";

export interface AgentBench {
  control: FakeControl;
  runtime: Runtime;
  /** Where it keeps its journal. */
  directory: string;
  /** Lines of its log: `info|warn|error event {facts}`. */
  lines: string[];
  /** Ends the agent (not its instances) and starts another on the same state. */
  restart(): Promise<void>;
  /** Ends the agent. */
  stop(): Promise<void>;
  start(): void;
  /** Ends agent, instances and control, and removes the state. */
  close(): Promise<void>;
}

interface Over {
  runtime?: Runtime;
  clock?: Clock;
  cloudflared?: { program?: string; image?: string };
  policy?: PolicySource;
}

/** An agent in this process, on real processes (or the runtime given), against a scripted control. */
export async function agentBench({ policy: file, ...over }: Over = {}): Promise<AgentBench> {
  const base = await mkdtemp(path.join(tmpdir(), "sluice-agent-"));
  await mkdir(path.join(base, "root", "app"), { recursive: true });
  const control = await new FakeControl().open();
  const runtime =
    over.runtime ??
    createProcessRuntime({ root: path.join(base, "root"), directory: path.join(base, "processes") });
  const policy = new Policy({ file, runtime: runtime.name, directory: base });
  const lines: string[] = [];
  const credentials = {
    url: control.url,
    token: "slu_host-token",
    host: { id: "host-1", name: "one" },
    runtime: runtime.name,
  };
  let abort = new AbortController();
  let running = Promise.resolve();
  const start = () => {
    abort = new AbortController();
    const kept = readCredentials(base).then((found) => found ?? credentials);
    running = kept.then((credentials) =>
      runAgent(
        {
          credentials,
          directory: base,
          runtime,
          policy,
          secrets: new Secrets(),
          log: keepLines(lines),
          refusedMs: 50,
          ...over,
        },
        abort.signal,
      ),
    );
  };
  const stop = async () => {
    abort.abort();
    await running;
  };
  start();
  return {
    control,
    runtime,
    directory: base,
    lines,
    start,
    stop,
    async restart() {
      await stop();
      start();
    },
    async close() {
      await stop();
      await endAll(runtime, base);
      await control.close();
      await rm(base, { recursive: true, force: true });
    },
  };
}

/** Ends what runs, and the runs that the journal knows. */
async function endAll(runtime: Runtime, directory: string): Promise<void> {
  const listed = await runtime.list();
  for (const { instance } of listed.ok ? listed.value : []) await runtime.stop(instance, 0);
  const { state } = await openJournal(directory, () => {});
  for (const run of Object.keys(state.runs)) await runtime.runs.stop(run, 0);
}

function keepLines(lines: string[]): Log {
  const at =
    (level: string): Log["info"] =>
    (event, facts = {}) =>
      void lines.push(`${level} ${event} ${JSON.stringify(facts)}`);
  return { info: at("info"), warn: at("warn"), error: at("error") };
}
