import type { InstanceFacts } from "../domain/facts.ts";
import type { ReleaseFacts } from "../domain/release.ts";

/** What an instance answered over its real path: the tunnel and the network that visitors' requests will take. */
export interface ProbeOutcome {
  readonly instance: string;
  /** Null: it answered 2xx. Else in words. */
  readonly cause: string | null;
}

/** Asks an instance at its origin for its readiness path. Never throws: whatever goes wrong is the cause. */
export async function probeInstance(instance: InstanceFacts, release: ReleaseFacts): Promise<ProbeOutcome> {
  const { path, timeoutMs } = release.spec.health.readiness;
  const url = instance.origin + path;
  try {
    const response = await fetch(url, {
      redirect: "manual",
      headers: { "x-sluice-probe": "1", "user-agent": "sluice" },
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
    return { instance: instance.id, cause: response.ok ? null : `GET ${url} answered ${response.status}` };
  } catch (error) {
    return {
      instance: instance.id,
      cause: `GET ${url}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}
