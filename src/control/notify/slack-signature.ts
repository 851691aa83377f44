import { fromHex } from "../bytes.ts";

const SCHEME = "v0";

/** HMAC-SHA-256 of `v0:<timestamp>:<body>` by the app's signing secret, compared in constant time. */
export async function isSignedBySlack(
  { signingSecret, timestamp, signature }: { signingSecret: string; timestamp: string; signature: string },
  body: string,
): Promise<boolean> {
  const hex = /^v0=([0-9a-f]{64})$/.exec(signature)?.[1];
  if (hex === undefined) return false;
  const bytes = new TextEncoder();
  const how = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes.encode(signingSecret), how, false, ["verify"]);
  return crypto.subtle.verify("HMAC", key, fromHex(hex), bytes.encode(`${SCHEME}:${timestamp}:${body}`));
}
