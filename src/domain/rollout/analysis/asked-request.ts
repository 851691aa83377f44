import type { Judgement } from "../../canary/index.ts";
import type { Draft } from "../draft.ts";
import type { FoundLines, ReleaseFacts } from "../release.ts";

/** Hosts are asked after the traffic has moved, while the instance drains: past it, its log may be gone. */
const ASKED_MS = 15_000;
/** Of the first line, in an event. */
const MOST_CHARS = 200;

/** Has what the app wrote of a request asked for, that failed on the route which the judge names first. Once for each. */
export function askForLines(
  draft: Draft,
  release: ReleaseFacts,
  { reason, culprits: [culprit] }: Judgement,
): void {
  const isOfErrors = reason !== "latency" && reason !== "latency-ceiling";
  if (!culprit?.failed || !isOfErrors || release.failedRequest?.id === culprit.failed.id) return;
  const { route, failed } = culprit;
  const instance = draft.facts.instances.find(({ id }) => id === failed.instance);
  const host = instance?.hostName ?? null;
  const found = host === null ? { lines: [], note: "its instance is gone, and its log with it" } : null;
  draft.changeRelease(release.id, {
    failedRequest: { ...failed, route, host, until: draft.now + ASKED_MS, found },
  });
}

/** Keeps what was found, and tells of it. */
export function keepLines(draft: Draft, of: { release: string; request: string }, found: FoundLines): void {
  const release = draft.release(of.release);
  const asked = release?.failedRequest;
  if (!release || asked?.id !== of.request || asked.found !== null) return;
  draft.changeRelease(release.id, { failedRequest: { ...asked, found } });
  const said = found.note ?? `"${found.lines[0]?.slice(0, MOST_CHARS) ?? ""}"`;
  const message = `${release.version}: ${asked.route} failed on ${asked.host} as request ${asked.id}: ${said}`;
  draft.event("release.request", release.id, message, { request: asked.id, route: asked.route });
}
