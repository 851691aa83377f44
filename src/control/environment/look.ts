import { publicHost } from "../../domain/hostnames.ts";
import {
  isOrigin,
  isOwn,
  judgeLook,
  type Names,
  type Page,
  type Sight,
  urlOf,
  type Walk,
} from "../../domain/look.ts";
import type { InstanceFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "../../domain/rollout/release.ts";
import { prefixOf } from "../../domain/routing/site.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { type Path, reach } from "./reach.ts";

/** For all of it: nobody's release waits longer for a look. */
const LOOK_MS = 5_000;
const MOST_PAGES = 6;
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
  const path = `${spec.stripPrefix ? "" : prefixOf(first)}/`;
  try {
    const walk = await walkFrom({ origin, path, names, by, signal: AbortSignal.timeout(LOOK_MS) });
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

interface Start {
  readonly origin: string;
  readonly path: string;
  readonly names: Names;
  readonly by: Path;
  readonly signal: AbortSignal;
}

async function walkFrom({ origin, path, names, by, signal }: Start): Promise<Walk> {
  const pages: Page[] = [];
  const seen = new Set<string>();
  const jar = new Map<string, string>();
  let url = `https://${names.host}${path}`;
  while (true) {
    const { pathname, search } = new URL(url);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    // A page that sets a cookie and leads to itself is no circle.
    const key = `${pathname}${search} ${cookie}`;
    if (seen.has(key) || pages.length === MOST_PAGES) return { pages, end: "loop" };
    seen.add(key);
    const headers = { accept: "text/html,application/xhtml+xml,*/*;q=0.8", ...(cookie ? { cookie } : {}) };
    const question = { origin, path: pathname + search, publicHost: names.host, headers };
    const page = await readPage(url, await reach(question, by, signal));
    pages.push(page);
    for (const set of page.cookies) keep(jar, set);
    const next = page.status >= 300 && page.status < 400 && page.location ? urlOf(page.location, url) : null;
    if (next === null) return { pages, end: "answered" };
    if (!isOwn(next, names) && !isOrigin(next, names)) return { pages, end: "elsewhere" };
    // As the edge mends it.
    url = `https://${names.host}${next.pathname}${next.search}`;
  }
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
