import type { Draft } from "./decision.ts";
import type { JobFacts } from "./facts.ts";
import { lockOf } from "./lock.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";

/** What a release that took too long was waiting for. */
export function waitsFor(draft: Draft, release: ReleaseFacts): string {
  if (release.state === "queued") {
    const lock = lockOf(draft.facts, draft.now);
    if (lock) return `the environment is locked by ${lock.holder} (${lock.reason})`;
    const stopping = draft.facts.instances.filter((instance) => instance.state === "stopping");
    const hosts = names(stopping.map((instance) => instance.hostName));
    return hosts
      ? `no slot is free before ${hosts} stops old containers: is its agent running?`
      : "its turn did not come";
  }
  const { paused } = release;
  if (paused) return `paused by ${paused.by} (${paused.reason}), and nobody went on`;
  const open = draft.facts.jobs.filter((job) => job.releaseId === release.id && job.finishedAt === null);
  const jobs = open.map((job) => {
    const host = hostName(draft, job.hostId);
    if (job.state === "queued") return `${host} has not taken the ${job.kind} job: is its agent running?`;
    return `${host} still works on ${job.kind}${job.progress ? ` (${job.progress})` : ""}`;
  });
  const silent = draft
    .instancesOf(release.id)
    .filter((instance) => release.state === "verifying" && instance.verifiedAt === null)
    .map(
      (instance) => `${instance.origin} on ${instance.hostName}: ${instance.verifyCause ?? "no answer yet"}`,
    );
  return (
    [...jobs, ...silent].join("; ") ||
    (release.state === "shifting" ? "its steps were not over" : "nothing answered")
  );
}

/** A failed job's error as the release's: which check failed, with which value against which limit, and where. */
export function failureOf(draft: Draft, job: JobFacts): ReleaseFailure {
  const error = job.error ?? {
    code: "internal",
    message: `the ${job.kind} job failed without a cause`,
    logs: [],
  };
  const check = error.probe
    ? {
        name: `GET ${error.probe.url}`,
        value:
          error.probe.status === undefined ? (error.probe.error ?? "no answer") : String(error.probe.status),
        limit: "2xx",
      }
    : error.exitCode === undefined
      ? undefined
      : { name: "process", value: `exited with code ${error.exitCode}`, limit: "keeps running" };
  return {
    code: error.code,
    message: `${hostName(draft, job.hostId)}: ${error.message}`,
    ...(check ? { check } : {}),
    host: hostName(draft, job.hostId),
    ...(job.instanceId ? { instance: job.instanceId } : {}),
    logs: error.logs,
  };
}

export function hostName(draft: Draft, hostId: string): string {
  const named = draft.facts.instances.find((instance) => instance.hostId === hostId)?.hostName;
  return named ?? draft.facts.hosts.find((host) => host.id === hostId)?.name ?? hostId;
}

/** Each name once, with commas. */
export const names = (list: readonly string[]): string => [...new Set(list)].join(", ");
