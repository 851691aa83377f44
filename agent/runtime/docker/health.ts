import { z } from "zod";
import { words } from "../../outcome.ts";
import type { Executed, ImageHealth } from "../runtime.ts";
import { type Engine, EngineError } from "./engine.ts";

const inspectSchema = z.object({
  State: z.object({ Health: z.object({ Status: z.string() }).nullish() }),
  Config: z.object({
    Healthcheck: z.object({ Test: z.array(z.string()).nullish(), Timeout: z.number().optional() }).nullish(),
  }),
});
const execSchema = z.object({ ExitCode: z.number().nullable() });
const createdSchema = z.object({ Id: z.string() });

/**
 * Asks for an image's own HEALTHCHECK. Docker runs it first after a whole interval (30 s by default), which would be the
 * longest wait of a release; and what it once called unhealthy it may ask again only much later. So until Docker says
 * "healthy", the same command is run here at once.
 */
export function createDockerHealth(engine: Engine) {
  return async (container: string, signal: AbortSignal): Promise<ImageHealth> => {
    const { State, Config } = await engine.json(inspectSchema, "GET", `/containers/${container}/json`, {
      signal,
    });
    const test = Config.Healthcheck?.Test ?? [];
    if (!State.Health || State.Health.Status === "none" || test.length < 2)
      return { state: "none", output: "" };
    if (State.Health.Status === "healthy") return { state: "healthy", output: "" };
    const seen = await runCheck({ engine, container, test, timeoutNs: Config.Healthcheck?.Timeout, signal });
    const isFinal = seen.state === "failing" && State.Health.Status === "unhealthy";
    return isFinal ? { ...seen, state: "unhealthy" } : seen;
  };
}

interface Check {
  engine: Engine;
  container: string;
  test: string[];
  timeoutNs: number | undefined;
  signal: AbortSignal;
}

async function runCheck({ engine, container, test, timeoutNs, signal }: Check): Promise<ImageHealth> {
  const [form, ...rest] = test;
  const command = form === "CMD-SHELL" ? ["/bin/sh", "-c", ...rest] : rest;
  const within = AbortSignal.any([signal, AbortSignal.timeout((timeoutNs ?? 0) / 1e6 || 30_000)]);
  try {
    const { exitCode, output } = await runInside({ engine, container, command, signal: within });
    if (exitCode === 0) return { state: "healthy", output };
    return { state: lacksProgram(output) ? "broken" : "failing", output };
  } catch (thrown) {
    if (thrown instanceof EngineError && lacksProgram(thrown.message))
      return { state: "broken", output: thrown.message };
    if (within.aborted && !signal.aborted)
      return { state: "failing", output: "it did not end within its timeout" };
    throw thrown;
  }
}

interface Inside {
  engine: Engine;
  container: string;
  command: readonly string[];
  signal: AbortSignal;
}

async function runInside({ engine, container, command, signal }: Inside): Promise<Executed> {
  const exec = await engine.json(createdSchema, "POST", `/containers/${container}/exec`, {
    json: { Cmd: command, AttachStdout: true, AttachStderr: true, Tty: true },
    signal,
  });
  const path = `/exec/${exec.Id}`;
  // Attached: the answer ends when the command does.
  const said = await engine.bytes("POST", `${path}/start`, { json: { Tty: true }, signal });
  const { ExitCode } = await engine.json(execSchema, "GET", `${path}/json`, { signal });
  return { ...(ExitCode !== null && { exitCode: ExitCode }), output: said.toString("utf8").trim() };
}

/** The same for an instance's own check: whatever hinders it is its output. */
export async function execute(inside: Inside): Promise<Executed> {
  try {
    return await runInside(inside);
  } catch (thrown) {
    return { output: inside.signal.aborted ? "" : words(thrown) };
  }
}

/** The words of shells (`sh: 1: curl: not found`, `bash: line 1: curl: command not found`) and of the engine. */
const lacksProgram = (output: string): boolean =>
  /^\S*sh: (line \d+: |\d+: )?\S+: (command )?not found\r?$|executable file not found in|exec: "[^"]+": stat [^:]+: no such file/m.test(
    output,
  );
