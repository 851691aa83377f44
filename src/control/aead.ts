import { fromBase64, toBase64Url } from "./bytes.ts";

/** AES-GCM with a fresh random nonce each time, as `<nonce>.<ciphertext and tag>`, both base64url. */

const NONCE_BYTES = 12;

/** `about` is authenticated with the text, and not in the answer: it opens only beside the very same. */
export async function encrypt(key: CryptoKey, text: string, about = ""): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const cipher = await crypto.subtle.encrypt(how(nonce, about), key, new TextEncoder().encode(text));
  return `${toBase64Url(nonce)}.${toBase64Url(cipher)}`;
}

/** Throws where the key, the text or what it is about is another: the runtime says no more than that. */
export async function decrypt(key: CryptoKey, sealed: string, about = ""): Promise<string> {
  const [nonce = "", cipher = ""] = sealed.split(".");
  const opened = await crypto.subtle.decrypt(how(fromBase64(nonce), about), key, fromBase64(cipher));
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(opened);
}

const how = (iv: Uint8Array<ArrayBuffer>, about: string) => ({
  name: "AES-GCM",
  iv,
  ...(about === "" ? {} : { additionalData: new TextEncoder().encode(about) }),
});
