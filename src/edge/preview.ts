/** Checks preview tokens. A bad one is refused, never ignored: its bearer must not take stable for the preview. */

import { err, ok, type Result } from "../domain/result.ts";
import type { Route, RouteInstance, RouteRelease } from "../domain/routing/choose.ts";
import { parsePreviewToken, previewPayload } from "../domain/routing/preview.ts";

export interface PreviewTarget {
  readonly release: RouteRelease;
  /** Set when the token names one instance. */
  readonly instance: RouteInstance | null;
}

const keys = new WeakMap<Route, CryptoKey>();

/** What the token opens, or why it opens nothing. */
export async function openPreview(
  route: Route,
  hostname: string,
  text: string,
): Promise<Result<PreviewTarget, string>> {
  const token = parsePreviewToken(text);
  if (token === null) return err("the preview token is malformed");
  const payload = new TextEncoder().encode(previewPayload(hostname, token.target, token.expiresAtS));
  const key = await keyOf(route);
  const signature = fromBase64Url(token.signature);
  if (key === null || !(await crypto.subtle.verify("HMAC", key, signature, payload))) {
    return err("the preview token was not signed for this hostname");
  }
  if (token.expiresAtS * 1_000 <= Date.now()) {
    return err(`the preview token expired at ${new Date(token.expiresAtS * 1_000).toISOString()}`);
  }
  const target = targetOf(route, token.target);
  return target === null
    ? err(`no release or instance ${token.target} is deployed here any more`)
    : ok(target);
}

function targetOf(route: Route, id: string): PreviewTarget | null {
  for (const release of route.releases) {
    if (release.id === id) return { release, instance: null };
    const instance = release.instances.find((candidate) => candidate.id === id);
    if (instance !== undefined) return { release, instance };
  }
  return null;
}

/** Null when the environment has no preview key: then nothing verifies. */
async function keyOf(route: Route): Promise<CryptoKey | null> {
  const held = keys.get(route);
  if (held !== undefined || route.table.previewKey === "") return held ?? null;
  const bytes = Uint8Array.from(route.table.previewKey.match(/../g) ?? [], (pair) =>
    Number.parseInt(pair, 16),
  );
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, [
    "verify",
  ]);
  keys.set(route, key);
  return key;
}

function fromBase64Url(text: string): Uint8Array {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
