import { SLOT_LABEL_CHARS } from "../domain/routing/slot.ts";
import { toBase64Url, toHex } from "./bytes.ts";

const CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz";

export type IdPrefix =
  | "app"
  | "env"
  | "rel"
  | "ins"
  | "host"
  | "tok"
  | "tru"
  | "req"
  | "log"
  | "acc"
  | "run"
  | "grant"
  | "hook"
  | "msg";

/** A prefixed id that sorts by time: 10 characters of `now` (epoch ms) and 16 random ones, e.g. `rel_01kas…`. */
export function newId(prefix: IdPrefix, now: number): string {
  let time = "";
  for (let rest = now, i = 0; i < 10; i += 1, rest = Math.floor(rest / 32))
    time = (CROCKFORD[rest % 32] ?? "") + time;
  const random = Array.from(randomBytes(16), (byte) => CROCKFORD[byte % 32]).join("");
  return `${prefix}_${time}${random}`;
}

/** A secret with 256 bits in it: `slu_…` is an API token, `sle_…` a host's one-time enrolment token, `sls_…` a browser's session. */
export const newSecret = (prefix: "slu" | "sle" | "sls"): string =>
  `${prefix}_${toBase64Url(randomBytes(32))}`;

/** 80 random bits as the label of a slot's hostname. */
export const randomLabel = (): string =>
  Array.from(randomBytes(SLOT_LABEL_CHARS), (byte) => CROCKFORD[byte % 32]).join("");

/** Random bytes as lower-case hex. */
export const randomHex = (bytes: number): string => toHex(randomBytes(bytes));

/** SHA-256 of a text, lower-case hex: how secrets are stored. */
export async function sha256(text: string): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

const randomBytes = (length: number) => crypto.getRandomValues(new Uint8Array(length));
