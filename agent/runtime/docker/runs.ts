import { done, failed, type Outcome, words } from "../../outcome.ts";
import { isPlainId, type RunSpec, type Runs, type Started } from "../runtime.ts";
import { asOutcome, type Calls, startedOf, tail, waitExit } from "./calls.ts";
import { runConfig, runName } from "./container.ts";
import { type Engine, EngineError } from "./engine.ts";
import { knownFailure } from "./failure.ts";
import { prepareHousing } from "./housing.ts";
import { engineName } from "./image.ts";
import { engineRef } from "./shipped.ts";

/** Hooks as containers: the engine keeps each, with its exit code and its log, until it is removed. */
export function createDockerRuns({
  engine,
  calls,
  host,
  localImages,
}: {
  engine: Engine;
  calls: Calls;
  host: string;
  localImages: boolean;
}): Runs {
  return {
    find: (run) => asOutcome(async () => stateOf(await calls.inspect(runName(run)))),
    start: (spec) => startRun({ engine, calls, spec, host, localImages }),
    waitExit: (run, signal) => waitExit(engine, calls, runName(run), signal),
    stop: (run, graceMs) => asOutcome(() => stopRun(calls, runName(run), graceMs)),
    logs: (run, lines) => tail(engine, runName(run), lines),
    remove: (run) => asOutcome(() => calls.remove(runName(run))),
  };
}

function stateOf(container: Awaited<ReturnType<Calls["inspect"]>>) {
  if (!container) return "none";
  return container.State.Status === "created" ? "unstarted" : "begun";
}

interface Start {
  engine: Engine;
  calls: Calls;
  spec: RunSpec;
  host: string;
  localImages: boolean;
}

async function startRun({ engine, calls, spec, host, localImages }: Start): Promise<Outcome<Started>> {
  if (!isPlainId(spec.run)) return failed("start_failed", `${spec.run} can't be a container's name`);
  const name = runName(spec.run);
  try {
    const refused = await prepareHousing(engine, spec, host);
    if (refused) return refused;
    // The name is the promise: a second container of it the engine refuses.
    const image = localImages ? await engineName(engine, spec.image) : engineRef(spec.image);
    await calls.create(name, runConfig({ ...spec, image }, host));
    await calls.start(name);
    const container = await calls.inspect(name);
    if (!container) return failed("start_failed", `container ${name} was removed while it started`);
    return done(startedOf(container));
  } catch (thrown) {
    return startFailure(engine, spec, thrown);
  }
}

async function startFailure(engine: Engine, spec: RunSpec, thrown: unknown) {
  const known = await knownFailure(engine, spec, thrown);
  if (known) return known;
  const said = words(thrown);
  if (thrown instanceof EngineError)
    return failed("start_failed", `the Docker engine could not run ${spec.command.join(" ")}: ${said}`);
  // A timeout: whether the engine did it all the same, nobody knows yet.
  return failed("runtime_unavailable", `the Docker engine did not answer: ${said}`);
}

async function stopRun(calls: Calls, name: string, graceMs: number) {
  const before = await calls.inspect(name);
  if (before?.State.Status !== "running") return { killed: false };
  await calls.stop(name, graceMs);
  const after = await calls.inspect(name);
  return { runtimeId: before.Id, killed: after?.State.ExitCode === 137 };
}
