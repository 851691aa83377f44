/**
 * The edge's two cookies. Over https their names begin with `__Host-`: a browser takes such a one from this very hostname only,
 * so no sibling subdomain can plant one.
 */

/** Identifies a visitor while traffic is split; the value is random and says nothing about the person. */
const VISITOR = "sluice_visitor";
/** Carries a preview token. */
export const PREVIEW = "sluice_preview";
const HOST_PREFIX = "__Host-";

const VISITOR_ID = /^[A-Za-z0-9_-]{8,64}$/;
const VISITOR_MAX_AGE_S = 7 * 24 * 3_600;

const SEMICOLON = 59;
const COMMA = 44;
const EQUALS = 61;

/** The preview cookie's name, wherever a client may choose it. */
export const PREVIEW_COOKIE = HOST_PREFIX + PREVIEW;

/** The preview token that a `Cookie` header brings, or null. A browser on a laptop's plain http keeps no `__Host-` cookie. */
export const previewToken = (header: string | null, isSecure: boolean): string | null =>
  cookieValue(header, PREVIEW_COOKIE) ?? (isSecure ? null : cookieValue(header, PREVIEW));

/** The visitor's id, or null when there is none or it is none of ours (forged, cut, 8 KB long). */
export function visitorId(header: string | null, isSecure: boolean): string | null {
  const value = cookieValue(header, isSecure ? HOST_PREFIX + VISITOR : VISITOR);
  return value !== null && VISITOR_ID.test(value) ? value : null;
}

/** The cookie that gives a visitor an id. Over https it holds in a page of another site that embeds this one, too. */
export function visitorCookie(id: string, isSecure: boolean): string {
  const common = `${VISITOR}=${id}; Path=/; Max-Age=${VISITOR_MAX_AGE_S}; HttpOnly`;
  return isSecure ? `${HOST_PREFIX}${common}; Secure; SameSite=None; Partitioned` : `${common}; SameSite=Lax`;
}

/** One cookie's value from a `Cookie` header, or null. */
export function cookieValue(header: string | null, name: string): string | null {
  if (header === null) return null;
  let at = header.indexOf(name);
  while (at !== -1) {
    const equals = at + name.length;
    if (header.charCodeAt(equals) === EQUALS && startsPair(header, at))
      return header.slice(equals + 1, endOfPair(header, equals)).trim();
    at = header.indexOf(name, equals);
  }
  return null;
}

/** The `Cookie` header without preview tokens, under any name the edge would take or has taken; null when nothing is left. */
export function withoutPreview(header: string): string | null {
  const kept: string[] = [];
  for (let start = 0; start <= header.length; ) {
    const end = endOfPair(header, start);
    const pair = header.slice(start, end);
    // With its own delimiter before it, so that what is left stays as it was.
    if (!isPreview(pair.trim())) kept.push(header.slice(Math.max(start - 1, 0), end));
    start = end + 1;
  }
  const [first = "", ...rest] = kept;
  const text = [first.replace(/^[;,]?\s*/, ""), ...rest].join("");
  return text.trim() === "" ? null : text;
}

const isPreview = (pair: string): boolean =>
  pair.startsWith(`${PREVIEW}=`) || pair.startsWith(`${PREVIEW_COOKIE}=`);

/** Whether a cookie's name starts here: nothing but white space lies between it and the pair before. */
function startsPair(header: string, at: number): boolean {
  for (let before = at - 1; before >= 0; before -= 1) {
    const code = header.charCodeAt(before);
    if (isDelimiter(code)) return true;
    if (code !== 32 && code !== 9) return false;
  }
  return true;
}

function endOfPair(header: string, start: number): number {
  let end = start;
  while (end < header.length && !isDelimiter(header.charCodeAt(end))) end += 1;
  return end;
}

/** A comma ends a pair too: workerd joins repeated `Cookie` lines by one. */
const isDelimiter = (code: number): boolean => code === SEMICOLON || code === COMMA;
