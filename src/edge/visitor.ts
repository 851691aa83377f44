import { bucketOf, numberOf } from "../domain/routing/buckets.ts";
import { isEligible, type RequestFacts, type Route } from "../domain/routing/choose.ts";
import { cookieValue, visitorId } from "../domain/routing/cookie.ts";
import type { Visit, Visitor } from "./visit.ts";

const ANYONE: Visitor = { bucket: null, eligible: true, newId: null, keeper: null };

/** Who the visitor is, as far as it matters to where they go. */
export const identify = (visit: Visit): Visitor => (visit.route.isForAnyone ? ANYONE : recognise(visit));

/** The bucket of a visitor who met an error: who that is matters then. */
export const bucketFor = ({ bucket }: Visitor, visit: Visit): number => bucket ?? recognise(visit).bucket;

interface Known extends Visitor {
  readonly bucket: number;
}

/** Finds the visitor's bucket by the environment's affinity. Unknown visitors get a random one. */
function recognise(visit: Visit): Known {
  const { route } = visit;
  const eligible = route.table.match === null || isEligible(route.table.match, factsOf(visit));
  const key = affinityKey(route, visit);
  if (key !== null) return known(route, key, eligible);
  const { affinity } = route.table;
  const isKept = affinity.kind === "cookie" && affinity.to === "instance";
  if (affinity.kind !== "cookie" || !(isKept || (route.isSplit && eligible))) {
    const address = visit.survey.address;
    const isRandom = affinity.kind !== "cookie" || address === null;
    const anonymous = isRandom ? String(Math.random()) : address;
    return { bucket: bucketOf(route.seed, anonymous), eligible, newId: null, keeper: null };
  }
  const newId = crypto.randomUUID();
  // What belongs to a page that they have open already is stable's: nobody has dealt them anything yet.
  if (route.isSplit && isPartOfPage(visit.request.headers)) return known(route, newId, false);
  return { ...known(route, newId, eligible), newId };
}

const known = (route: Route, key: string, eligible: boolean): Known => ({
  bucket: bucketOf(route.seed, key),
  eligible,
  newId: null,
  keeper: isSticky(route) ? numberOf(key) : null,
});

export const isSticky = ({ table: { affinity } }: Route): boolean =>
  affinity.kind !== "none" && affinity.to === "instance";

/** A browser says of everything but a navigation that it is for a page which is there. Who says nothing is no browser's page. */
function isPartOfPage(headers: Headers): boolean {
  const mode = headers.get("sec-fetch-mode");
  return mode !== null && mode !== "navigate";
}

function affinityKey(route: Route, visit: Visit): string | null {
  const { affinity } = route.table;
  switch (affinity.kind) {
    case "cookie":
      return visitorId(visit.survey.cookies, visit.url.secure);
    case "header":
      return visit.request.headers.get(affinity.name);
    case "ip":
      return visit.survey.address;
    case "none":
      return null;
  }
}

function factsOf(visit: Visit): RequestFacts {
  return {
    header: (name) => visit.request.headers.get(name),
    cookie: (name) => cookieValue(visit.survey.cookies, name),
    country: () => {
      const country = visit.request.cf?.country;
      return typeof country === "string" ? country : null;
    },
    path: visit.url.target,
  };
}
