import { z } from "zod";
import type { ImageHealth } from "../runtime.ts";
import type { Engine } from "./engine.ts";

const inspectSchema = z.object({
  State: z.object({
    Health: z
      .object({ Status: z.string(), Log: z.array(z.object({ Output: z.string() })).nullish() })
      .nullish(),
  }),
  Config: z.object({
    Healthcheck: z.object({ Test: z.array(z.string()).nullish(), Timeout: z.number().optional() }).nullish(),
  }),
});
const execSchema = z.object({ ExitCode: z.number().nullable() });
const createdSchema = z.object({ Id: z.string() });

/**
 * Asks for an image's own HEALTHCHECK. Docker runs it first after a whole interval (30 s by default), which would be the
 * longest wait of a release; so while Docker still says "starting", the same command is run here at once.
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
    if (State.Health.Status === "unhealthy") {
      return { state: "unhealthy", output: State.Health.Log?.at(-1)?.Output.trim() ?? "" };
    }
    return runCheck({ engine, container, test, timeoutNs: Config.Healthcheck?.Timeout, signal });
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
    const exec = await engine.json(createdSchema, "POST", `/containers/${container}/exec`, {
      json: { Cmd: command, AttachStdout: true, AttachStderr: true, Tty: true },
      signal: within,
    });
    const path = `/exec/${exec.Id}`;
    // Attached: the answer ends when the command does.
    const output = await engine.bytes("POST", `${path}/start`, { json: { Tty: true }, signal: within });
    const { ExitCode } = await engine.json(execSchema, "GET", `${path}/json`, { signal: within });
    return { state: ExitCode === 0 ? "healthy" : "failing", output: output.toString("utf8").trim() };
  } catch (thrown) {
    if (within.aborted && !signal.aborted)
      return { state: "failing", output: "it did not end within its timeout" };
    throw thrown;
  }
}
