import {
  isOrigin,
  judgeLook,
  type Names,
  type Page,
  prefixAt,
  type Sight,
  urlOf,
  type Walk,
} from "../../domain/doctor/front-page.ts";
import { publicHost } from "../../domain/hostnames.ts";
import type { InstanceFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "../../domain/rollout/release.ts";
import { prefixOf } from "../../domain/routing/site.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { type Path, reach } from "./reach.ts";

/** For all of it: nobody's release waits longer for a look. */
const LOOK_MS = 5_000;
/** As many redirects as browsers follow. */
const MOST_PAGES = 20;
const BODY_MOST = { bytes: 200_000, ms: 2_000 };

/**
 * Walks over a release's front page as a visitor would, on the real path, and says what they would meet. Asks by GET alone:
 * nothing that may change an app is asked of it. One that gives no answer here is judged by its probes.
 */
export async function lookAt(
  { spec }: ReleaseFacts,
  { origin }: InstanceFacts,
  by: Path = {},
): Promise<readonly Sight[]> {
  const [first = ""] = spec.hostnames;
  const names = { host: publicHost(spec.hostnames), hostnames: spec.hostnames, origin: new URL(origin).host };
  const begin = new URL(`https://${names.host}${prefixOf(first)}/`);
  const isCut = spec.stripPrefix === true;
  try {
    const walk = await walkFrom(begin, { origin, isCut, names, by, signal: AbortSignal.timeout(LOOK_MS) });
    return judgeLook(walk, names);
  } catch {
    // Slow, gone or breaking off: probes and smoke checks have words for that.
    return [];
  }
}

/** Why a release must not go on by what was seen; null: it may. */
export function lookFailure(
  { spec }: ReleaseFacts,
  instance: InstanceFacts,
  sights: readonly Sight[],
): ReleaseFailure | null {
  const [worst] = sights.filter((sight) => sight.fatal);
  if (!worst || spec.look !== "fail") return null;
  return {
    code: "look_failed",
    message: `a visitor would get nothing: ${worst.detail}. ${worst.fix}. (\`look: warn\` in the manifest lets it through)`,
    host: instance.hostName,
    instance: instance.id,
    logs: [],
  };
}

interface Way {
  readonly origin: string;
  /** The app doesn't see the path of the hostname that it is reached by. */
  readonly isCut: boolean;
  readonly names: Names;
  readonly by: Path;
  readonly signal: AbortSignal;
}

/** From one address that a visitor sees to the next: each is asked of the app as the edge would ask it. */
async function walkFrom(begin: URL, way: Way): Promise<Walk> {
  const { names } = way;
  const pages: Page[] = [];
  const seen = new Set<string>();
  const jar = new Map<string, string>();
  let url = begin;
  while (true) {
    const prefix = prefixAt(url, names);
    if (prefix === undefined) return { pages, end: "elsewhere" };
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    // A page that sets a cookie and leads to itself is no circle.
    const key = `${url.href} ${cookie}`;
    if (seen.has(key)) return { pages, end: "loop" };
    if (pages.length === MOST_PAGES) return { pages, end: "long" };
    seen.add(key);
    const page = await readPage(url.href, await ask(url, way, { prefix, cookie }));
    pages.push(page);
    for (const set of page.cookies) keep(jar, set);
    const next =
      page.status >= 300 && page.status < 400 && page.location ? urlOf(page.location, url.href) : null;
    if (next === null) return { pages, end: "answered" };
    // As the edge mends it: the instance's own address is the one that was asked for.
    const host = isOrigin(next, names) ? url.hostname : next.hostname;
    url = new URL(`https://${host}${next.pathname}${next.search}`);
  }
}

function ask(
  { hostname, pathname, search }: URL,
  { origin, isCut, names, by, signal }: Way,
  { prefix, cookie }: { prefix: string; cookie: string },
): Promise<Response> {
  const path = (isCut ? pathname.slice(prefix.length) || "/" : pathname) + search;
  const headers = {
    accept: "text/html,application/xhtml+xml,*/*;q=0.8",
    ...(isCut && prefix !== "" ? { "x-forwarded-prefix": prefix } : {}),
    ...(cookie ? { cookie } : {}),
  };
  return reach({ origin, path, publicHost: names.host, visited: hostname, headers }, by, signal);
}

async function readPage(url: string, response: Response): Promise<Page> {
  const { status, headers } = response;
  return {
    url,
    status,
    location: headers.get("location"),
    cookies: headers.getSetCookie(),
    contentType: headers.get("content-type") ?? "",
    body: textOf(await readBody(response.body, BODY_MOST)),
  };
}

function keep(jar: Map<string, string>, set: string): void {
  const match = /^\s*([^=;]+)=([^;]*)/.exec(set);
  if (match) jar.set(match[1] ?? "", match[2] ?? "");
}
