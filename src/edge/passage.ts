/** Who a visit goes to: which release by table and visitor, which instance, or why nobody. */
import { numberOf } from "../domain/routing/buckets.ts";
import {
  chooseFallback,
  chooseInstance,
  chooseRelease,
  type Errand,
  ownRelease,
  type RouteInstance,
} from "../domain/routing/choose.ts";
import { PREVIEW, previewToken } from "../domain/routing/cookie.ts";
import { errorAnswer } from "./error-answer.ts";
import { noInstance, noRelease, previewRefused } from "./error-causes.ts";
import { waitForOpen } from "./mode.ts";
import { openPreview, type PreviewTarget } from "./preview.ts";
import type { Tables } from "./table.ts";
import type { Visit, Visitor } from "./visit.ts";
import { identify, isSticky } from "./visitor.ts";

export interface Passage {
  readonly visit: Visit;
  readonly visitor: Visitor;
  readonly instance: RouteInstance;
  /** The visitor was dealt this release; false: sent here because that one could not carry the request. */
  readonly isDealt: boolean;
  /** Keeps to the release whatever happens (preview). */
  readonly isPinned: boolean;
  /** Why the preview cookie that came along opens nothing. */
  readonly ignoredPreview?: string;
}

/** Nobody in the rollout's eyes: what previews see says nothing about it. */
const PREVIEWER: Visitor = { bucket: 0, eligible: false, newId: null, keeper: null };

/** Rotates over a release's instances. */
let turn = 0;

/** Most visits pass at once; only unusual ones wait, so only they cost a promise. */
export function choosePassage(
  visit: Visit,
  tables: Tables,
): Passage | Response | Promise<Passage | Response> {
  const { preview: token, cookies } = visit.survey;
  if (token !== null) return preview(visit, token);
  if (cookies?.includes(PREVIEW)) {
    const fromCookie = previewToken(cookies, visit.url.secure);
    if (fromCookie !== null) return previewByCookie(visit, fromCookie, tables);
  }
  return withoutPreview(visit, tables);
}

const withoutPreview = (visit: Visit, tables: Tables) =>
  visit.route.table.mode.kind === "open" ? forVisitor(visit, tables) : whenOpen(visit, tables);

function forVisitor(visit: Visit, tables: Tables): Passage | Response | Promise<Passage | Response> {
  const visitor = identify(visit);
  turn += 1;
  const own = visit.route.pins === null ? null : ofOwnRelease(visit, visitor);
  if (own !== null) return { visit, visitor, instance: own, isDealt: false, isPinned: false };
  const chosen = chooseRelease(visit.route, visitor, visit.arrivedAt);
  if (chosen === null) return refuse(visit, noRelease(visit.route));
  const instance = chooseInstance(chosen, errandOf(visit, visitor, visit.arrivedAt));
  if (instance === null) return withoutChoice(visit, visitor, tables);
  return { visit, visitor, instance, isDealt: true, isPinned: false };
}

/** A server action, or a chunk, of a page that is open: of the release that the page is of, while that is there. */
function ofOwnRelease(visit: Visit, visitor: Visitor): RouteInstance | null {
  const { survey, url, route, arrivedAt } = visit;
  const name = survey.deployment ?? /[?&]dpl=([\w.-]+)/.exec(url.target)?.[1];
  const release = name === undefined ? null : ownRelease(route, name, arrivedAt);
  return release && chooseInstance(release, errandOf(visit, visitor, arrivedAt));
}

async function whenOpen(visit: Visit, tables: Tables): Promise<Passage | Response> {
  const opened = await waitForOpen(visit, tables);
  return "status" in opened ? refuse(visit, opened) : forVisitor({ ...visit, route: opened }, tables);
}

/** The chosen release has no usable instance: look for a newer table, then take whoever can carry the request. */
async function withoutChoice(stale: Visit, visitor: Visitor, tables: Tables): Promise<Passage | Response> {
  const found = await tables.refreshed(stale.hostname, stale.url.target, stale.env, stale.ctx);
  const visit = typeof found === "string" ? stale : { ...stale, route: found };
  const now = Date.now();
  const chosen = chooseRelease(visit.route, visitor, now);
  const errand = errandOf(visit, visitor, now);
  const own = chosen && chooseInstance(chosen, errand);
  if (own !== null) return { visit, visitor, instance: own, isDealt: true, isPinned: false };
  const instance = chosen && chooseFallback(visit.route, chosen, errand);
  if (instance === null) return refuse(visit, noInstance(visit.route));
  return { visit, visitor, instance, isDealt: false, isPinned: false };
}

/** A preview goes where its token says or nowhere, at any weight and in any mode. */
async function preview(visit: Visit, token: string): Promise<Passage | Response> {
  const opened = await openPreview(visit.route, visit.hostname, token);
  return opened.ok ? toPreview(visit, opened.value, token) : refuse(visit, previewRefused(opened.error));
}

/** A cookie comes along unasked, perhaps from long ago: one that opens nothing locks nobody out, and the answer says so. */
async function previewByCookie(visit: Visit, token: string, tables: Tables): Promise<Passage | Response> {
  const opened = await openPreview(visit.route, visit.hostname, token);
  if (opened.ok) return toPreview(visit, opened.value, token);
  const passage = await withoutPreview(visit, tables);
  return passage instanceof Response ? passage : { ...passage, ignoredPreview: opened.error };
}

/** Who looks at a preview keeps to an instance by the token. */
function toPreview(visit: Visit, target: PreviewTarget, token: string): Passage | Response {
  const { release } = target;
  turn += 1;
  const visitor = { ...PREVIEWER, keeper: isSticky(visit.route) ? numberOf(token) : null };
  const errand = errandOf(visit, visitor, visit.arrivedAt);
  const instance = target.instance ?? chooseInstance(release, errand) ?? release.instances[0];
  if (instance === undefined) return refuse(visit, noInstance(visit.route));
  return { visit, visitor, instance, isDealt: false, isPinned: true };
}

const errandOf = ({ isHarmless }: Visit, { keeper }: Visitor, now: number): Errand => ({
  turn,
  isResendable: isHarmless,
  now,
  keeper,
});

const refuse = (visit: Visit, cause: Parameters<typeof errorAnswer>[2]): Response =>
  errorAnswer(visit.request, visit.survey.requestId, cause);
