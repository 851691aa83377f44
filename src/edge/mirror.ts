/** Copies a sampled share of harmless requests to a release under test; its answers are compared and dropped. */
import { chooseInstance, type RouteInstance } from "../domain/routing/choose.ts";
import { FULL_WEIGHT } from "../domain/routing/table.ts";
import { forward, type Outgoing } from "./forward.ts";
import { originHeaders } from "./headers.ts";
import type { Meter } from "./meter.ts";
import { askWhole, compare } from "./mirror/compare.ts";
import type { Passage } from "./passage.ts";
import type { Visit } from "./visit.ts";

/** Marks a copy, so that the app can keep it out of its own statistics. */
export const MIRROR_HEADER = "X-Sluice-Mirror";

/** A release that answers none of them in this time costs nobody more than this. */
const DEADLINE_MS = 10_000;
/** Requests copied at a time by one isolate: past it, a slow release is asked no more. */
const MOST_AT_ONCE = 16;

/** When each of those under way is given up at the latest, epoch ms: of a context that was cancelled nobody hears again. */
const underWay = new Set<{ readonly until: number }>();

/** Sends the copy behind the visitor's answer. */
export function mirror({ visit, instance: served }: Passage, meter: Meter): void {
  const plan = visit.route.table.mirror;
  if (plan === null || plan.release === served.release.id || !isCopyable(visit)) return;
  if (Math.random() * FULL_WEIGHT >= plan.shareBp) return;
  const release = visit.route.releases.find((candidate) => candidate.id === plan.release);
  const instance = release && chooseInstance(release, errand());
  if (!release || !instance || !isRoom()) return;
  const stable = plan.compare === undefined ? null : stablePair(visit);
  const headers = originHeaders(visit);
  headers.set(MIRROR_HEADER, "1");
  if (stable) askWhole(headers);
  const outgoing = { headers, body: null, signal: AbortSignal.timeout(DEADLINE_MS) };
  visit.ctx.waitUntil(bounded(() => copy(visit, { instance, stable, outgoing }, meter)));
}

interface Copy {
  readonly instance: RouteInstance;
  readonly stable: readonly RouteInstance[] | null;
  readonly outgoing: Outgoing;
}

async function copy(visit: Visit, { instance, stable, outgoing }: Copy, meter: Meter): Promise<void> {
  const asked = forward(visit, instance, outgoing);
  if (!stable) return (await asked).response?.body?.cancel();
  const compared = await compare(visit, outgoing, { asked, stable });
  if (compared) meter.countCompared(visit, instance.release.id, compared);
}

/** Two different instances where there are two: what differs from one to the other is not the release's doing. */
function stablePair({ route }: Visit): RouteInstance[] | null {
  const first = errand();
  const turns = [first, { ...first, turn: first.turn + 1 }];
  const pair = turns.flatMap((turn) => (route.stable && chooseInstance(route.stable, turn)) ?? []);
  return pair.length === 2 ? pair : null;
}

function isRoom(): boolean {
  const now = Date.now();
  for (const one of underWay) if (one.until < now) underWay.delete(one);
  return underWay.size < MOST_AT_ONCE;
}

async function bounded(work: () => Promise<void>): Promise<void> {
  const own = { until: Date.now() + 3 * DEADLINE_MS };
  underWay.add(own);
  try {
    await work();
  } finally {
    underWay.delete(own);
  }
}

/** A copy is harmless, and its failure nobody's. */
const errand = () => ({ turn: Math.floor(Math.random() * 1_000), isResendable: true, now: Date.now() });

function isCopyable({ request, method, survey }: Visit): boolean {
  const isPlain = method === "GET" || method === "HEAD";
  return isPlain && request.body === null && !survey.isUpgrade;
}
