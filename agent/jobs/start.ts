import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import { aborted } from "../aborted.ts";
import { type Startable, startWithImage } from "../instances/start-with-image.ts";
import { done, failed, type Outcome } from "../outcome.ts";
import { AGENT_STOPS, type JobContext } from "./context.ts";

/** Time an instance that never became ready gets to end: nobody was sent to it. */
const FAILED_GRACE_MS = 2_000;

/** Runs one instance and answers when it is ready. One that fails is removed, its port free again, its last lines kept. */
export function start(job: Startable, context: JobContext): Promise<Outcome<JobResult>> {
  return context.instances.starting(job.spec.instance, (cancelled) => startOnce(job, context, cancelled));
}

async function startOnce(
  job: Startable,
  context: JobContext,
  cancelled: AbortSignal,
): Promise<Outcome<JobResult>> {
  const { spec } = job;
  const { runtime, instances, journal, progress } = context;
  const known = journal.state.instances[spec.instance];
  if (known?.readyAfterMs !== undefined && instances.get(spec.instance)) {
    return done({ readyAfterMs: known.readyAfterMs, ...(known.runtimeId && { runtimeId: known.runtimeId }) });
  }
  await instances.begin(spec);
  const where = spec.worker ? `as ${spec.worker.process}` : `on port ${spec.hostPort}`;
  progress(`starting ${spec.app} ${spec.version} ${where}`);
  const anyEnd = AbortSignal.any([context.signal, cancelled]);
  const found = await startWithImage(job, { ...context, signal: anyEnd });
  const started = !found.ok && cancelled.aborted ? calledOff(spec) : found;
  if (!started.ok) {
    // An engine that is away is not waited for twice: it was, for a minute.
    if (started.error.code !== "runtime_unavailable") await runtime.stop(spec.instance, 0);
    await instances.forget(spec.instance);
    return started;
  }
  const { runtimeId, startedAt } = started.value;
  // Adopted, found ended, and now replaced: what the watch saw was about the one before.
  if (journal.state.instances[spec.instance]?.runtimeId !== runtimeId) await instances.unwatch(spec.instance);
  await journal.update((state) => {
    const record = state.instances[spec.instance];
    if (record) Object.assign(record, { runtimeId, startedAt });
  });
  progress("waiting until it is ready");
  const up = await readyInTime(spec, startedAt, { ...context, cancelled });
  // An agent that stops leaves everything as it is: the next one is handed this job again.
  if (!up) return failed("internal", "the agent stopped meanwhile");
  if (up.ok && !cancelled.aborted) return done({ ...up.value, runtimeId });
  await clearAway(spec, context, cancelled.aborted ? 0 : FAILED_GRACE_MS);
  return up.ok ? calledOff(spec) : up;
}

async function clearAway(spec: InstanceSpec, { instances, runtime }: JobContext, graceMs: number) {
  await instances.release(spec.instance);
  await runtime.stop(spec.instance, graceMs);
  await instances.forget(spec.instance);
}

const calledOff = (spec: InstanceSpec) =>
  failed(
    "start_failed",
    `the start of ${spec.instance} was called off: control asked to stop it before it was ready`,
  );

/** `undefined`: the agent ends first. */
async function readyInTime(
  spec: InstanceSpec,
  startedAt: number,
  { instances, signal, cancelled, runtime }: JobContext & { cancelled: AbortSignal },
): Promise<Outcome<{ readyAfterMs: number }> | undefined> {
  const instance = instances.watch(spec);
  const up = await Promise.race([instance.bringUp(startedAt), aborted(AbortSignal.any([signal, cancelled]))]);
  if (signal.reason === AGENT_STOPS) return undefined;
  if (cancelled.aborted) return calledOff(spec);
  if (up) return up;
  const seen = instance.progress ? `; last seen: ${instance.progress}` : "";
  const logs = await runtime.logs(spec.instance, 50);
  return failed("deadline", `${spec.instance} was not ready when the job's time was over${seen}`, { logs });
}
