import { publicHost } from "../../domain/hostnames.ts";
import type { InstanceFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "../../domain/rollout/release.ts";
import type { SmokeCheck } from "../../domain/spec.ts";
import { smokeKey } from "../../domain/tracing/spans.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { AT_ONCE, atMost, Gate } from "../at-most.ts";
import { contextWithin } from "../trace-ids.ts";
import { type Path, reach } from "./reach.ts";

const TIMEOUT_MS = 10_000;
/** Slow ones leave room: whether instances answer is not to wait for them. */
const MOST_CHECKS = AT_ONCE - 2;
/** Of an answer's body, as much as is searched for `contains`. */
const BODY_MOST = { bytes: 1_000_000, ms: TIMEOUT_MS };
const EXCERPT = 200;

interface How {
  readonly by?: Path;
  readonly gate?: Gate;
  readonly when?: "before" | "after";
  /** What runs before this one found as wanted: it is not asked again, and what this one finds so is added. */
  readonly passed?: Set<string>;
  /** How many it may make. */
  readonly most?: number;
}

/** What is left of the checks is for another invocation. */
interface Ran {
  readonly failure: ReleaseFailure | null;
  readonly isOver: boolean;
}

/** Runs some of a release's smoke checks against each of its instances over their real path. The first failure, or null. */
export async function runSmoke(
  release: ReleaseFacts,
  instances: readonly InstanceFacts[],
  { by = {}, gate = new Gate(), when = "before", passed = new Set(), most }: How = {},
): Promise<Ran> {
  const open = instances
    .flatMap((instance) =>
      release.spec.smoke.map((check, n) => ({ instance, check, key: `${instance.id}/${n}` })),
    )
    .filter(({ key }) => !passed.has(key));
  const checks = open.slice(0, most);
  const headers = await contextWithin(release, smokeKey(when));
  let failed = false;
  const each = await atMost(MOST_CHECKS, checks, async ({ instance, check, key }) => {
    // One failure is enough to know: what hasn't begun need not.
    const failure = failed
      ? null
      : await gate.through(() =>
          runCheck(instance, check, { by, host: publicHost(release.spec.hostnames), headers }),
        );
    failed ||= failure !== null;
    if (!failed) passed.add(key);
    return failure;
  });
  const failure = each.find((one) => one !== null) ?? null;
  return { failure, isOver: failure !== null || checks.length === open.length };
}

async function runCheck(
  instance: InstanceFacts,
  check: SmokeCheck,
  {
    by,
    host,
    headers,
  }: { readonly by: Path; readonly host: string; readonly headers: Record<string, string> },
): Promise<ReleaseFailure | null> {
  const url = instance.origin + check.path;
  const wanted = `${check.status}${check.contains === undefined ? "" : ` and a body with ${JSON.stringify(check.contains)}`}`;
  const fails = (value: string): ReleaseFailure => ({
    code: "smoke_failed",
    message: `${instance.hostName}: smoke check GET ${url}: ${value}, wanted ${wanted}`,
    check: { name: `smoke GET ${check.path}`, value, limit: wanted },
    host: instance.hostName,
    instance: instance.id,
    logs: [],
  });
  try {
    const question = { origin: instance.origin, path: check.path, publicHost: host, headers };
    const response = await reach(question, by, AbortSignal.timeout(TIMEOUT_MS));
    const body = textOf(await readBody(response.body, BODY_MOST));
    const { status } = response;
    const stopped = interceptionOf({ status, headers: response.headers, body });
    const isOthers = stopped?.by === "challenge" || stopped?.by === "access";
    if (isOthers || status !== check.status)
      return fails(`answered ${status}${stopped ? `: ${stopped.words}. ${stopped.fix}` : ""}`);
    if (check.contains !== undefined && !body.includes(check.contains)) {
      return fails(`answered ${status} with ${JSON.stringify(body.slice(0, EXCERPT))}`);
    }
    return null;
  } catch (error) {
    return fails(error instanceof Error ? error.message : String(error));
  }
}
