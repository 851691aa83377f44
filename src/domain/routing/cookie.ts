/** Identifies a visitor while traffic is split; the value is random and says nothing about the person. */
const VISITOR_COOKIE = "sluice_visitor";
export const PREVIEW_COOKIE = "sluice_preview";

const VISITOR_ID = /^[A-Za-z0-9_-]{8,64}$/;
const VISITOR_MAX_AGE_S = 7 * 24 * 3_600;

/**
 * One cookie's value from a `Cookie` header, or null. A comma ends a value too: workerd joins repeated `Cookie` lines
 * by one.
 */
export function cookieValue(header: string | null, name: string): string | null {
  if (header === null) return null;
  let at = header.indexOf(name);
  while (at !== -1) {
    const equals = at + name.length;
    if (header.charCodeAt(equals) === 61 && startsPair(header, at)) return valueFrom(header, equals + 1);
    at = header.indexOf(name, equals);
  }
  return null;
}

/** The visitor's id, or null when there is none or it is none of ours (forged, cut, 8 KB long). */
export function visitorId(header: string | null): string | null {
  const value = cookieValue(header, VISITOR_COOKIE);
  return value !== null && VISITOR_ID.test(value) ? value : null;
}

export function visitorCookie(id: string, secure: boolean): string {
  return `${VISITOR_COOKIE}=${id}; Path=/; Max-Age=${VISITOR_MAX_AGE_S}; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`;
}

/** The `Cookie` header without the named cookie; null when nothing is left. */
export function withoutCookie(header: string, name: string): string | null {
  const kept = header.split(/; */).filter((pair) => !pair.startsWith(`${name}=`));
  return kept.length === 0 ? null : kept.join("; ");
}

function startsPair(header: string, at: number): boolean {
  if (at === 0) return true;
  const before = header.charCodeAt(at - 1);
  return before === 32 || before === 59 || before === 44;
}

function valueFrom(header: string, start: number): string {
  let end = start;
  while (end < header.length) {
    const code = header.charCodeAt(end);
    if (code === 59 || code === 44) break;
    end += 1;
  }
  return header.slice(start, end).trim();
}
