/** Copies a sampled share of harmless requests to a release under test; its answers are compared and dropped. */
import { chooseInstance } from "../domain/routing/choose.ts";
import { FULL_WEIGHT } from "../domain/routing/table.ts";
import { forward } from "./forward.ts";
import { originHeaders } from "./headers.ts";
import type { Meter } from "./meter.ts";
import type { Passage } from "./passage.ts";
import type { Visit } from "./visit.ts";

/** Marks a copy, so that the app can keep it out of its own statistics. */
export const MIRROR_HEADER = "X-Sluice-Mirror";

/** Sends the copy behind the visitor's answer, which had `status`. */
export function mirror({ visit, instance: served }: Passage, meter: Meter, status: number): void {
  const plan = visit.route.table.mirror;
  if (plan === null || plan.release === served.release.id || !isCopyable(visit)) return;
  if (Math.random() * FULL_WEIGHT >= plan.shareBp) return;
  const release = visit.route.releases.find((candidate) => candidate.id === plan.release);
  const instance = release && chooseInstance(release, errand());
  if (!release || !instance) return;
  const headers = originHeaders(visit);
  headers.set(MIRROR_HEADER, "1");
  const copy = async () => {
    const { response, verdict, attempt } = await forward(visit, instance, { headers, body: null });
    await response?.body?.cancel();
    const mismatch = attempt.kind !== "answered" || attempt.status !== status;
    meter.countMirrored(visit, release.id, { error: verdict.error, mismatch });
  };
  visit.ctx.waitUntil(copy());
}

/** A copy is harmless, and its failure nobody's. */
const errand = () => ({ turn: Math.floor(Math.random() * 1_000), isResendable: true, now: Date.now() });

function isCopyable({ request, method, survey }: Visit): boolean {
  const isPlain = method === "GET" || method === "HEAD";
  return isPlain && request.body === null && !survey.isUpgrade;
}
