import type { Draft } from "./draft.ts";
import type { JobFacts } from "./facts.ts";
import { housing, JOB_SLACK_MS, releaseEnv } from "./instances.ts";
import type { ReleaseFacts } from "./release.ts";

interface HookOrder {
  readonly hook: "expand" | "contract";
  readonly command: readonly string[];
  readonly host: string;
  readonly image: string;
}

/** For an agent's own word that the deadline has passed. After it nobody runs the hook any more. */
const LOST_AGENT_MS = 30_000;

/**
 * Two migrations at once would meet in the same data, whatever was aborted: true while another hook of the environment
 * has not ended. One whose agent never says how it ended is given up after its deadline.
 */
export function isHookRunning(draft: Draft, release?: ReleaseFacts): boolean {
  const open = draft.facts.jobs.filter((job) => isOpenHook(job) && job.releaseId !== release?.id);
  const lost = open.filter(({ deadlineAt }) => deadlineAt + LOST_AGENT_MS <= draft.now);
  draft.cancel(lost);
  for (const { deadlineAt } of open) draft.wakeAt(Math.max(draft.now + 1, deadlineAt + LOST_AGENT_MS));
  return open.length > lost.length;
}

export const isOpenHook = ({ kind, finishedAt }: JobFacts): boolean => kind === "run" && finishedAt === null;

/** One job per release and hook, by its id: no decision can order it twice. */
export function orderHook(draft: Draft, release: ReleaseFacts, order: HookOrder): void {
  const { spec } = release;
  const deadlineAt = draft.now + spec.deadlines.hookMs;
  draft.order({
    id: `${order.hook}-${release.id}`,
    kind: "run",
    hostId: order.host,
    releaseId: release.id,
    instanceId: null,
    payload: {
      run: `${release.id}-${order.hook}`,
      hook: order.hook,
      release: release.id,
      version: release.version,
      app: spec.app,
      environment: spec.environment,
      image: order.image,
      command: order.command,
      env: releaseEnv(release),
      resources: spec.resources,
      ...housing(spec),
      secrets: spec.secrets ?? [],
      ...(release.trace ? { trace: release.trace } : {}),
    },
    deadlineAt,
  });
  if (release.deadlineAt !== null) draft.changeRelease(release.id, { deadlineAt: deadlineAt + JOB_SLACK_MS });
  const message = `${release.version}: ${order.hook} hook runs (${order.command.join(" ")})`;
  draft.event("release.progress", release.id, message, { hook: order.hook });
}
