import type { InstanceSpec, JobResult } from "../../src/protocol/agent.ts";
import { done, failed, type Outcome } from "../outcome.ts";
import type { Started } from "../runtime/runtime.ts";
import { AGENT_STOPS, type JobContext } from "./context.ts";

/** Time an instance that never became ready gets to end: nobody was sent to it. */
const FAILED_GRACE_MS = 2_000;

/** Runs one instance and answers when it is ready. One that fails is removed, its port free again, its last lines kept. */
export async function start(spec: InstanceSpec, context: JobContext): Promise<Outcome<JobResult>> {
  const { runtime, instances, journal, signal, progress } = context;
  const known = journal.state.instances[spec.instance];
  if (known?.readyAfterMs !== undefined && instances.get(spec.instance)) {
    return done({ readyAfterMs: known.readyAfterMs, ...(known.runtimeId && { runtimeId: known.runtimeId }) });
  }
  await instances.begin(spec);
  progress(`starting ${spec.app} ${spec.version} on port ${spec.hostPort}`);
  const started = await startWithImage(spec, context);
  if (!started.ok) {
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
  const up = await readyInTime(spec, startedAt, context);
  // An agent that stops leaves everything as it is: the next one is handed this job again.
  if (!up || signal.reason === AGENT_STOPS) return failed("internal", "the agent stopped meanwhile");
  if (up.ok) return done({ ...up.value, runtimeId });
  await instances.release(spec.instance);
  await runtime.stop(spec.instance, FAILED_GRACE_MS);
  await instances.forget(spec.instance);
  return up;
}

/** The image was pulled when the release was prepared; a replacement days later may find it pruned. */
async function startWithImage(spec: InstanceSpec, context: JobContext): Promise<Outcome<Started>> {
  const { runtime, progress, signal } = context;
  const started = await runtime.start(spec);
  if (started.ok || started.error.code !== "image_not_found") return started;
  const pulled = await runtime.pull(spec.image, progress, signal);
  return pulled.ok ? runtime.start(spec) : pulled;
}

async function readyInTime(
  spec: InstanceSpec,
  startedAt: number,
  { instances, signal, runtime }: JobContext,
) {
  const instance = instances.watch(spec);
  const over = new Promise<"over">((resolve) => {
    if (signal.aborted) resolve("over");
    signal.addEventListener("abort", () => resolve("over"), { once: true });
  });
  const up = await Promise.race([instance.bringUp(startedAt), over]);
  if (up !== "over") return up;
  if (signal.reason === AGENT_STOPS) return undefined;
  const seen = instance.progress ? `; last seen: ${instance.progress}` : "";
  const logs = await runtime.logs(spec.instance, 50);
  return failed("deadline", `${spec.instance} was not ready when the job's time was over${seen}`, { logs });
}
