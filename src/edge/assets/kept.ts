/**
 * Copies of built assets for after their release is gone: in the colo's cache, which costs nothing, and, where a bucket is bound,
 * in R2, which all colos share and nothing falls out of. What is kept was given to nobody in particular.
 */
import { isPage } from "../../domain/routing/asset.ts";
import { readBody } from "../../streams/bounded-body.ts";
import { TIMED_OUT, within } from "../deadline.ts";
import type { Visit } from "../visit.ts";

/** A cache of its own: what is in it can't be fetched by URL. */
const CACHE_NAME = "sluice-assets";
const KEPT_S = 30 * 86_400;
const READ_DEADLINE_MS = 3_000;
const MOST = { bytes: 8 * 1024 * 1024, ms: 20_000 };
/** The app's own rule for the browser, under which the cache is not to forget it. */
const OWN_CONTROL = "x-sluice-cache-control";
/** What goes with a copy; all else belongs to one answer. */
const KEPT_HEADERS = [
  "content-type",
  "cache-control",
  "etag",
  "last-modified",
  "access-control-allow-origin",
  "cross-origin-resource-policy",
  "cross-origin-embedder-policy",
  "timing-allow-origin",
  "x-content-type-options",
  "service-worker-allowed",
  "sourcemap",
];

/** Where a copy lies: an environment's own, whichever of its hostnames asks. */
export type Place = Pick<Visit, "route" | "hostname" | "env" | "ctx"> & { readonly path: string };

/** The copy, or null: there is none, or it could not be had. */
export async function readKept(place: Place): Promise<Response | null> {
  const cached = await inTime(fromCache(place));
  if (cached !== null) return cached;
  const stored = await inTime(fromBucket(place));
  if (stored === null) return null;
  place.ctx.waitUntil(intoCache(place, stored.clone()));
  return stored;
}

/** Keeps an answer if it may be anybody's, and gives the copy back; null: it is not kept. Reads its body, or cancels it. */
export async function keep(place: Place, answer: Response): Promise<Response | null> {
  if (!isAnybodys(answer)) {
    answer.body?.cancel().catch(() => {});
    return null;
  }
  const { bytes, end } = await readBody(answer.body, MOST);
  if (end !== "whole") return null;
  const headers = new Headers();
  for (const name of KEPT_HEADERS) {
    const value = answer.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const { ASSETS: bucket } = place.env;
  if (bucket !== undefined)
    await bucket.put(bucketKey(place), bytes, { customMetadata: { headers: JSON.stringify([...headers]) } });
  await intoCache(place, new Response(bytes, { headers }));
  return new Response(bytes, { headers });
}

function isAnybodys({ status, headers }: Response): boolean {
  const control = headers.get("cache-control") ?? "";
  return (
    status === 200 &&
    headers.get("set-cookie") === null &&
    !/\b(?:no-store|private)\b/i.test(control) &&
    !/\*|\b(?:cookie|authorization)\b/i.test(headers.get("vary") ?? "") &&
    !isPage(headers.get("content-type")) &&
    Number(headers.get("content-length") ?? 0) <= MOST.bytes
  );
}

async function fromCache(place: Place): Promise<Response | null> {
  const cache = await caches.open(CACHE_NAME);
  const found = await cache.match(cacheKey(place));
  if (found === undefined) return null;
  const headers = new Headers();
  for (const name of KEPT_HEADERS) {
    const value = found.headers.get(name === "cache-control" ? OWN_CONTROL : name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(found.body, { headers });
}

async function fromBucket(place: Place): Promise<Response | null> {
  const found = await place.env.ASSETS?.get(bucketKey(place));
  if (!found) return null;
  const kept: [string, string][] = JSON.parse(found.customMetadata?.headers ?? "[]");
  return new Response(found.body, { headers: kept });
}

async function intoCache(place: Place, copy: Response): Promise<void> {
  const headers = new Headers(copy.headers);
  const own = headers.get("cache-control");
  if (own !== null) headers.set(OWN_CONTROL, own);
  headers.set("cache-control", `max-age=${KEPT_S}`);
  try {
    const cache = await caches.open(CACHE_NAME);
    await cache.put(cacheKey(place), new Response(copy.body, { headers }));
  } catch {
    // No Cache API here (workers.dev, bare workerd): then only the bucket keeps.
  }
}

/** Nobody waits long for a copy: without one the visitor gets what the app said. */
async function inTime(reading: Promise<Response | null>): Promise<Response | null> {
  const read = await within(
    reading.catch(() => null),
    READ_DEADLINE_MS,
  );
  return read === TIMED_OUT ? null : read;
}

const cacheKey = ({ route: { table }, hostname, path }: Place): string =>
  `https://${table.publicHost ?? hostname}/${table.environment}${path}`;

const bucketKey = ({ route, path }: Place): string => `${route.table.environment}${path}`;
