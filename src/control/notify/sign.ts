import { fromBase64, toBase64 } from "../bytes.ts";

/**
 * The headers of Standard Webhooks 1.0: what is signed is `id.timestamp.body`, by HMAC-SHA-256 under the secret's bytes. One
 * signature for each secret, so that a receiver may hold either while they are rotated. `at`: epoch ms of this try.
 */
export async function signatureHeaders(
  message: { readonly id: string; readonly body: string },
  secrets: readonly string[],
  at: number,
): Promise<Record<string, string>> {
  const timestamp = String(Math.floor(at / 1_000));
  const signed = new TextEncoder().encode(`${message.id}.${timestamp}.${message.body}`);
  const signatures = await Promise.all(secrets.map((secret) => sign(secret, signed)));
  return {
    "webhook-id": message.id,
    "webhook-timestamp": timestamp,
    ...(signatures.length > 0 && { "webhook-signature": signatures.join(" ") }),
  };
}

async function sign(secret: string, signed: Uint8Array): Promise<string> {
  const bytes = fromBase64(secret.slice("whsec_".length));
  const how = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes, how, false, ["sign"]);
  return `v1,${toBase64(await crypto.subtle.sign("HMAC", key, signed))}`;
}
