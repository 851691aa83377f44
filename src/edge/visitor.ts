import { bucketOf } from "../domain/routing/buckets.ts";
import { isEligible, type RequestFacts, type Route } from "../domain/routing/choose.ts";
import { cookieValue, visitorId } from "../domain/routing/cookie.ts";
import type { Visit, Visitor } from "./visit.ts";

/** Finds the visitor's bucket by the environment's affinity. Unknown visitors get a random one. */
export function identify(visit: Visit): Visitor {
  const { route } = visit;
  const eligible = route.table.match === null || isEligible(route.table.match, factsOf(visit));
  const key = affinityKey(route, visit);
  if (key !== null) return { bucket: bucketOf(route.seed, key), eligible, newId: null };
  if (route.table.affinity.kind !== "cookie" || !route.isSplit || !eligible) {
    const address = visit.survey.address;
    const isRandom = route.table.affinity.kind !== "cookie" || address === null;
    const anonymous = isRandom ? String(Math.random()) : address;
    return { bucket: bucketOf(route.seed, anonymous), eligible, newId: null };
  }
  const newId = crypto.randomUUID();
  return { bucket: bucketOf(route.seed, newId), eligible, newId };
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
