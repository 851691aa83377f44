import { PREVIEW_COOKIE } from "../../domain/routing/cookie.ts";
import { formatPreviewToken, PREVIEW_HEADER, previewPayload } from "../../domain/routing/preview.ts";
import { nameOf } from "../../domain/routing/site.ts";
import type { PreviewView } from "../../protocol/api/previews/pass.ts";
import { fromHex, toBase64Url } from "../bytes.ts";
import { iso } from "../iso.ts";

interface PreviewInput {
  readonly release: string;
  /** Perhaps with the beginning of a path. The pass is for all of the name: cookies know no paths here. */
  readonly hostname: string;
  /** Hex, the routing table's. */
  readonly previewKey: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** A signed pass to one release on one hostname. The edge checks it by the same key and the same payload. */
export async function signPreview(input: PreviewInput): Promise<PreviewView> {
  const { release, hostname, previewKey } = input;
  const expiresAtS = Math.floor(input.expiresAt / 1_000);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", fromHex(previewKey), algorithm, false, ["sign"]);
  const payload = new TextEncoder().encode(previewPayload(nameOf(hostname), release, expiresAtS));
  const signature = toBase64Url(await crypto.subtle.sign("HMAC", key, payload));
  const value = formatPreviewToken({ target: release, expiresAtS, signature });
  return {
    release,
    url: `https://${hostname}/`,
    header: { name: PREVIEW_HEADER, value },
    cookie: `${PREVIEW_COOKIE}=${value}`,
    expiresAt: iso(expiresAtS * 1_000),
  };
}
