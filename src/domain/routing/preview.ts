/**
 * A preview token lets its bearer reach a release (or one instance of it) at any weight, 0 % too:
 * `<target>.<expiry>.<signature>`, expiry in epoch seconds, signature the base64url (unpadded) HMAC-SHA-256 of
 * `previewPayload` under the table's `previewKey`. Control signs, the edge verifies; both build the payload here.
 */
export interface PreviewToken {
  /** A release's or an instance's id. */
  readonly target: string;
  readonly expiresAtS: number;
  readonly signature: string;
}

export const PREVIEW_HEADER = "X-Sluice-Preview";

const TOKEN = /^([A-Za-z0-9_-]{1,64})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})$/;

/** What is signed. The hostname is in it: a token for staging opens nothing in production. */
export function previewPayload(hostname: string, target: string, expiresAtS: number): string {
  return `sluice-preview:1:${hostname}:${target}:${expiresAtS}`;
}

export function formatPreviewToken(token: PreviewToken): string {
  return `${token.target}.${token.expiresAtS}.${token.signature}`;
}

export function parsePreviewToken(text: string): PreviewToken | null {
  const match = TOKEN.exec(text);
  if (match === null) return null;
  const [, target = "", expiry = "", signature = ""] = match;
  return { target, expiresAtS: Number(expiry), signature };
}
