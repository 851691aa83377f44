/** Bytes as text and back, in the two ways that the platform has no call for yet. */

export const toHex = (bytes: Uint8Array | ArrayBuffer): string =>
  Array.from(view(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** From an even number of hex digits. */
export const fromHex = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

export function toBase64(bytes: Uint8Array | ArrayBuffer): string {
  let text = "";
  for (const byte of view(bytes)) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Without padding, safe in URLs and headers. */
export const toBase64Url = (bytes: Uint8Array | ArrayBuffer): string =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** From either alphabet, padded or not. Throws where it is neither. */
export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

const view = (bytes: Uint8Array | ArrayBuffer) =>
  bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
