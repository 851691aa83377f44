import { publicHost } from "../../domain/hostnames.ts";
import type { InstanceFacts } from "../../domain/rollout/facts.ts";
import { whyNotNamed } from "../../domain/rollout/host-header.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import type { ProbeSpec } from "../../domain/spec.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { contextWithin } from "../trace-ids.ts";
import { answeredText, type Path, reach } from "./reach.ts";

/** What an instance answered over its real path: the tunnel and the network that visitors' requests will take. */
export interface ProbeOutcome {
  readonly instance: string;
  /** Null: it answered as wanted. Else in words. */
  readonly cause: string | null;
}

/**
 * Asks an instance at its origin for its readiness path. Never throws: whatever goes wrong is the cause. Where readiness is no
 * GET of the port that visitors get, any answer but a gateway's shows that the way is open.
 */
export async function probeInstance(
  instance: InstanceFacts,
  release: ReleaseFacts,
  by: Path = {},
): Promise<ProbeOutcome> {
  const { spec } = release;
  const cause = instance.verifiedAt === null ? whyNotNamed(instance) : null;
  if (cause !== null) return { instance: instance.id, cause };
  const { path, headers, port, statuses = SUCCESS, timeoutMs } = spec.health.readiness;
  const isGet = path !== undefined && (port === undefined || port === spec.port);
  const asked = isGet ? { path, headers } : { path: "/", headers: {} };
  const url = instance.origin + asked.path;
  try {
    const headers = { ...(await contextWithin(release)), ...asked.headers };
    const question = { ...asked, headers, origin: instance.origin, publicHost: publicHost(spec.hostnames) };
    const response = await reach(question, by, AbortSignal.timeout(timeoutMs));
    return { instance: instance.id, cause: await causeOf(response, url, isGet ? statuses : NO_GATEWAY) };
  } catch (error) {
    return {
      instance: instance.id,
      cause: `GET ${url}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

type Statuses = NonNullable<ProbeSpec["statuses"]>;
const SUCCESS: Statuses = [[200, 299]];
const NO_GATEWAY: Statuses = [[100, 501]];

async function causeOf(response: Response, url: string, wanted: Statuses): Promise<string | null> {
  const { status, headers } = response;
  const isWanted = wanted.some(([from, to]) => status >= from && status <= to);
  // Whatever its status, a challenge or a login of Cloudflare's is no answer of the instance's.
  if (!isWanted || interceptionOf({ status, headers }) !== null)
    return `GET ${url} ${await answeredText(response)}`;
  await response.body?.cancel();
  return null;
}
