import type { Check } from "../../src/protocol/agent/check.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { Clock } from "../clock.ts";
import { cut, done, failed, type Outcome } from "../outcome.ts";
import { describeExit, type Exit, type ImageHealth, type Runtime } from "../runtime/runtime.ts";
import { type Look, look, wordsOf } from "./check.ts";
import type { CheckFailure } from "./http-check.ts";

/** The image's own check is run as often as the startup check, but a process start costs more than a GET. */
const IMAGE_CHECK_MS = 1_000;

export interface Startup {
  spec: InstanceSpec;
  runtime: Runtime;
  clock: Clock;
  /** How long it has been up already: its deadline counts from when it began, whoever began it. */
  ageMs: number;
  /** Aborting gives up the wait, and the outcome says nothing about the instance. */
  signal: AbortSignal;
  onProgress?: (message: string) => void;
}

/** Waits until an instance is ready: startup check, readiness check, then the image's own health check. */
export async function awaitReady(startup: Startup): Promise<Outcome<{ readyAfterMs: number }>> {
  const { runtime, spec, signal } = startup;
  const up = await awaitOnce(startup);
  if (!("fell" in up)) return up;
  // It ended with its engine, which says nothing about it: it begins anew, and has its whole time.
  const again = await runtime.restart(spec.instance, 0);
  if (!again.ok || signal.aborted) return exitFailure(startup, up.fell);
  return awaitReady({ ...startup, ageMs: 0 });
}

/** `fell`: its end was its engine's. */
async function awaitOnce(startup: Startup): Promise<Outcome<{ readyAfterMs: number }> | { fell: Exit }> {
  const { spec, runtime, clock } = startup;
  const over = new AbortController();
  const signal = AbortSignal.any([startup.signal, over.signal]);
  const began = clock.monotonic() - startup.ageMs;
  try {
    const exit = runtime.waitExit(spec.instance, signal);
    const checks = passChecks({
      ...startup,
      signal,
      began,
      deadline: began + spec.health.startup.deadlineMs,
    });
    const first = await Promise.race([exit.then(asExit), checks]);
    if ("exit" in first && first.exit?.withEngine) return { fell: first.exit };
    if ("exit" in first) return first.exit ? await exitFailure(startup, first.exit) : givenUp(spec);
    if (first.ok) return done({ readyAfterMs: Math.round(clock.monotonic() - began) });
    return { ok: false, error: { ...first.error, logs: await runtime.logs(spec.instance, 50) } };
  } finally {
    over.abort();
  }
}

const asExit = (exit: Exit | undefined) => ({ exit });

async function exitFailure({ spec, runtime }: Pick<Startup, "spec" | "runtime">, exit: Exit) {
  const logs = await runtime.logs(spec.instance, 50);
  const why = await runtime.explain(spec, logs);
  const message = `${spec.app} ${spec.version} ${describeExit(exit)} before it was ready`;
  return failed("exited", why ? `${message}: ${why}` : message, {
    ...(exit.exitCode !== undefined && { exitCode: exit.exitCode }),
    ...(exit.signal && { signal: exit.signal }),
    logs,
  });
}

/** `deadline`: by the monotonic clock. */
type Checks = Startup & { began: number; deadline: number };

async function passChecks(startup: Checks): Promise<Outcome<void>> {
  const { health, worker } = startup.spec;
  const { startup: first, readiness } = health;
  if (worker?.steadyMs !== undefined) return stayUp(startup, worker.steadyMs);
  const intervalMs = Math.min(first.intervalMs, readiness.intervalMs);
  const started = await passCheck(startup, first);
  if (!started.ok) return started;
  const ready = await passCheck(startup, { ...readiness, intervalMs });
  if (!ready.ok) return ready;
  // The image's own asks the web, which a worker is not.
  return worker ? ready : passImageHealth(startup);
}

async function passCheck(startup: Checks, check: Check): Promise<Outcome<void>> {
  const { spec, clock, signal, onProgress } = startup;
  const one = { spec, check, runtime: startup.runtime };
  let successes = 0;
  while (!signal.aborted) {
    const result = await look(one, signal);
    successes = result.ok ? successes + 1 : 0;
    if (successes >= check.successes) return done(undefined);
    if (!result.ok) onProgress?.(`${wordsOf(one)} ${result.problem}`);
    if (clock.monotonic() >= startup.deadline && !result.ok) return checkFailure(startup, one, result);
    await clock.sleep(check.intervalMs, signal);
  }
  return givenUp(spec);
}

/** A worker without a check is ready when it has stayed up for a while: its exit is watched beside. */
async function stayUp({ spec, clock, signal, began }: Checks, steadyMs: number): Promise<Outcome<void>> {
  await clock.sleep(Math.max(0, began + steadyMs - clock.monotonic()), signal);
  return signal.aborted ? givenUp(spec) : done(undefined);
}

const givenUp = (spec: InstanceSpec) => failed("internal", `waiting for ${spec.instance} was given up`);

async function checkFailure(startup: Startup, one: Look, result: CheckFailure): Promise<Outcome<never>> {
  const { spec, runtime } = startup;
  const within = `for ${spec.health.startup.deadlineMs / 1000} s`;
  // Of the app's own port the container is asked: on the host's side the engine's proxy accepts for it.
  const isOwnPort = one.check.path !== undefined && one.check.port === undefined;
  const closed =
    isOwnPort &&
    (result.code === "port_closed" ||
      (result.code === "health_unreachable" && (await runtime.listens(spec)) === false));
  if (!closed)
    return failed(result.code, `${wordsOf(one)} ${result.problem} ${within}`, { probe: result.facts });
  const port = runtime.name === "docker" ? spec.containerPort : spec.hostPort;
  return failed(
    "port_closed",
    `nothing listened on port ${port} ${within}: does the app listen on $PORT, and on 0.0.0.0 rather than localhost?`,
    { probe: result.facts },
  );
}

async function passImageHealth(startup: Checks): Promise<Outcome<void>> {
  const { spec, runtime, clock, signal, onProgress } = startup;
  while (!signal.aborted) {
    const health = await runtime.imageHealth(spec.instance, signal);
    if (health.state === "none" || health.state === "healthy") return done(undefined);
    if (health.state === "broken") return broken(health);
    onProgress?.(`the image's HEALTHCHECK fails: ${health.output}`);
    if (clock.monotonic() >= startup.deadline) return unhealthy(spec, health);
    await clock.sleep(IMAGE_CHECK_MS, signal);
  }
  return givenUp(spec);
}

const broken = ({ output }: ImageHealth) =>
  failed(
    "docker_unhealthy",
    `the checks pass, but the image's own HEALTHCHECK can't be run in it: ${output.slice(0, 500)}. Install what it calls, or mend the HEALTHCHECK`,
  );

const unhealthy = (spec: InstanceSpec, { output }: ImageHealth) =>
  failed(
    "docker_unhealthy",
    `the checks pass, but the image's own HEALTHCHECK fails for ${spec.health.startup.deadlineMs / 1000} s: ${cut(output, 500) || "it prints nothing"}`,
  );
