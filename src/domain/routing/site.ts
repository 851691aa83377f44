/**
 * A site is what an environment is reached by: a name (`shop.example.com`, `*.example.com`), or a name with the beginning of a
 * path (`shop.example.com/api`). The name decides first, then the longest path.
 */

const SLASH = 47;
const HASH = 35;
const QUESTION = 63;

export const nameOf = (site: string): string => {
  const slash = site.indexOf("/");
  return slash === -1 ? site : site.slice(0, slash);
};

/** `/api` of `shop.example.com/api`; empty without one. */
export const prefixOf = (site: string): string => site.slice(nameOf(site).length);

/** Those of a name's sites with a path that a request lies in, the longest first. */
export function sitesOver(sites: readonly string[], target: string): string[] {
  const path = comparable(target);
  return sites.filter((site) => liesIn(path, prefixOf(site))).sort((one, other) => other.length - one.length);
}

/** At the prefix itself or below it: `/api`, `/api?x`, `/api/x`; not `/apis`. */
export function liesIn(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  const next = path.charCodeAt(prefix.length);
  return Number.isNaN(next) || next === SLASH || next === QUESTION || next === HASH;
}

/**
 * The path as paths are compared (RFC 3986 §6.2.2): needlessly encoded characters are themselves, and dot segments are
 * followed. An encoded slash is none, and case counts. Only for choosing: the app gets the path as it was sent.
 */
export function comparable(target: string): string {
  if (!target.includes("%") && !target.includes("/.")) return target;
  const path = target.split(/[?#]/, 1)[0] ?? "";
  return withoutDots(path.replace(/%[0-9a-f]{2}/gi, unescaped));
}

function unescaped(code: string): string {
  const character = String.fromCharCode(Number.parseInt(code.slice(1), 16));
  return /[A-Za-z0-9._~-]/.test(character) ? character : code;
}

/** RFC 3986 §5.2.4. */
function withoutDots(path: string): string {
  const kept: string[] = [];
  const segments = path.split("/").slice(1);
  for (const [index, segment] of segments.entries()) {
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
    if (index === segments.length - 1 && (segment === "." || segment === "..")) kept.push("");
  }
  return `/${kept.join("/")}`;
}
