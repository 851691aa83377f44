/**
 * The authority and the rest of a request URL, cut as text: a `URL` object would cost more than everything else the
 * edge does to a request, and would rewrite the path.
 */
export interface SplitUrl {
  readonly secure: boolean;
  /** As sent: any case, with port. */
  readonly authority: string;
  /** Path and query, always with a leading slash. */
  readonly target: string;
}

export function splitUrl(url: string): SplitUrl {
  const secure = url.startsWith("https://");
  const start = secure ? 8 : 7;
  let end = start;
  while (end < url.length) {
    const code = url.charCodeAt(end);
    if (code === 47 || code === 63 || code === 35) break;
    end += 1;
  }
  const rest = url.slice(end);
  return { secure, authority: url.slice(start, end), target: rest.startsWith("/") ? rest : `/${rest}` };
}

/** Lower case, without userinfo, port and trailing dot. An IPv6 literal keeps its brackets. */
export function normalHostname(authority: string): string {
  let host = authority.slice(authority.lastIndexOf("@") + 1);
  const colon = host.indexOf(":", host.startsWith("[") ? host.indexOf("]") : 0);
  if (colon !== -1) host = host.slice(0, colon);
  if (host.endsWith(".")) host = host.slice(0, -1);
  return host.toLowerCase();
}

/** The wildcards that could stand for a name, the longest first: `*.b.example.com` and `*.example.com` of `a.b.example.com`. */
export function wildcardsOver(hostname: string): string[] {
  const labels = hostname.split(".");
  return labels.slice(1, -1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`);
}

/** Which of the names a hostname is reached by: itself, else the longest wildcard over it. */
export const registeredName = (names: readonly string[], hostname: string): string | undefined =>
  names.includes(hostname) ? hostname : wildcardsOver(hostname).find((name) => names.includes(name));
