import { env } from "cloudflare:workers";

export const K1 = `k1:${btoa("1".repeat(32))}`;
export const K2 = `k2:${btoa("2".repeat(32))}`;

/** Everything in D1 as one text: what somebody with a copy of the database has. */
export async function dump(): Promise<string> {
  const tables = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
  ).all<{ name: string }>();
  const rows = await Promise.all(
    tables.results.map(async ({ name }) => (await env.DB.prepare(`SELECT * FROM "${name}"`).all()).results),
  );
  return JSON.stringify(rows);
}

/** The value itself, and what somebody would find it by: its encodings and a plain hash, by which a short one is guessed. */
export async function tracesOf(value: string): Promise<string[]> {
  const bytes = new TextEncoder().encode(value);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = (part: Uint8Array) => Array.from(part, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const base64 = (part: Uint8Array) => btoa(String.fromCharCode(...part)).replace(/=+$/, "");
  return [value, base64(bytes), hex(bytes), hex(hash), base64(hash)];
}
