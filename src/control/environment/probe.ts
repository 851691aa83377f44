import type { InstanceFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import { answeredText, type Path, reach } from "./reach.ts";

/** What an instance answered over its real path: the tunnel and the network that visitors' requests will take. */
export interface ProbeOutcome {
  readonly instance: string;
  /** Null: it answered 2xx. Else in words. */
  readonly cause: string | null;
}

/** Asks an instance at its origin for its readiness path. Never throws: whatever goes wrong is the cause. */
export async function probeInstance(
  instance: InstanceFacts,
  release: ReleaseFacts,
  by: Path = {},
): Promise<ProbeOutcome> {
  const { path, timeoutMs } = release.spec.health.readiness;
  const url = instance.origin + path;
  try {
    const response = await reach(url, by, AbortSignal.timeout(timeoutMs));
    return { instance: instance.id, cause: await causeOf(response, url) };
  } catch (error) {
    return {
      instance: instance.id,
      cause: `GET ${url}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

async function causeOf(response: Response, url: string): Promise<string | null> {
  if (!response.ok) return `GET ${url} ${await answeredText(response)}`;
  await response.body?.cancel();
  return null;
}
