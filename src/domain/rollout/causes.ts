import { inWords } from "../state-words.ts";
import type { Draft } from "./draft.ts";
import type { JobFacts } from "./facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";

/** A release that took too long in its state: for how long, and what it was waiting for. */
export function late(draft: Draft, release: ReleaseFacts, waitedFor: string): ReleaseFailure {
  const spent = Math.round((draft.now - release.stateSince) / 1_000);
  const message = `${inWords(release.state)} took longer than ${spent} s: ${waitedFor}`;
  return { code: "deadline", message, logs: [] };
}

/** Its unfinished jobs, and how far each is. */
export function openWork(draft: Draft, release: ReleaseFacts, nothing = "nothing answered"): string {
  const open = draft.facts.jobs.filter((job) => job.releaseId === release.id && job.finishedAt === null);
  const words = open.map((job) => {
    const host = hostName(draft, job.hostId);
    if (job.state === "queued") return `${host} has not taken the ${job.kind} job: is its agent running?`;
    return `${host} still works on ${job.kind}${job.progress ? ` (${job.progress})` : ""}`;
  });
  return words.join("; ") || nothing;
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

/** Hosts that were to run it were removed meanwhile. */
export function lostOnTheWay({ version, spec }: ReleaseFacts, left: number): ReleaseFailure {
  const message = `${left} of ${spec.replicas} instances of ${version} are left: a host that was to run it was removed. Deploy again`;
  return { code: "host_removed", message, logs: [] };
}

export function hostName(draft: Draft, hostId: string): string {
  const named = draft.facts.instances.find((instance) => instance.hostId === hostId)?.hostName;
  return named ?? draft.facts.hosts.find((host) => host.id === hostId)?.name ?? hostId;
}

/** Each name once, with commas. */
export const names = (list: readonly string[]): string => [...new Set(list)].join(", ");
