import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { freePort } from "../engine/docker.ts";
import { Daemon } from "./daemon.ts";
import { isInstalled } from "./installed.ts";

const PROGRAM = "/usr/bin/prometheus";
const PROMTOOL = "/usr/bin/promtool";

export const hasPrometheus = isInstalled("prometheus", PROGRAM);

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

export interface Prometheus {
  /** What an expression is now: a vector. Throws what Prometheus says against it. */
  query(expression: string): Promise<readonly Sample[]>;
  close(): Promise<void>;
}

/** A real Prometheus on a free loopback port that scrapes control every two seconds. */
export async function startPrometheus(of: { controlUrl: string; token: string }): Promise<Prometheus> {
  const directory = await mkdtemp(join(tmpdir(), "sluice-prometheus-"));
  const port = await freePort();
  const { host, protocol } = new URL(of.controlUrl);
  const job = {
    job_name: "sluice",
    scheme: protocol.slice(0, -1),
    scrape_interval: "2s",
    authorization: { credentials: of.token },
    static_configs: [{ targets: [host] }],
  };
  // JSON is YAML.
  await writeFile(join(directory, "prometheus.yml"), JSON.stringify({ scrape_configs: [job] }));
  const url = `http://127.0.0.1:${port}`;
  const daemon = new Daemon({
    command: PROGRAM,
    args: [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    stopSignal: "SIGTERM",
    probe: async () => {
      const { ok, status } = await fetch(`${url}/-/ready`);
      if (!ok) throw new Error(`not ready: ${status}`);
    },
  });
  await daemon.start();
  return {
    async query(expression) {
      const response = await fetch(`${url}/api/v1/query`, {
        method: "POST",
        body: new URLSearchParams({ query: expression }),
      });
      // Prometheus' own answer: https://prometheus.io/docs/prometheus/latest/querying/api/
      const said = (await response.json()) as { error?: string; data?: { result: Sample[] } };
      if (!said.data) throw new Error(`${expression}: ${said.error}`);
      return said.data.result;
    },
    async close() {
      await daemon.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** What `promtool` says, and how it ended. */
export async function promtool(args: readonly string[], input = ""): Promise<{ code: number; said: string }> {
  const child = spawn(PROMTOOL, args);
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: Number(code), said: `${out}${err}` };
}
