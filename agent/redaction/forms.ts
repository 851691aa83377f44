/** A shorter value is no secret, and would be found in every other word. */
const MIN_LENGTH = 6;

/**
 * The texts that give a value away: it itself, its lines, the password in it where it is an address; each as it is and as
 * base64 (also in the middle of something longer), percent-encoded, hexadecimal and in JSON. Longest first.
 */
export function formsOf(value: string): string[] {
  const parts = [value, value.trim(), ...linesOf(value), ...passwordOf(value)];
  const forms = new Set(parts.filter((part) => part.length >= MIN_LENGTH).flatMap(encodingsOf));
  return [...forms].filter((form) => form.length >= MIN_LENGTH).sort((a, b) => b.length - a.length);
}

/** A log has lines: a key of several is written as several. The frame of a PEM file is in all of them. */
function linesOf(value: string): string[] {
  const lines = value.split(/\r?\n/).map((line) => line.trim());
  return lines.length < 2 ? [] : lines.filter((line) => !/^-----[A-Z ]+-----$/.test(line));
}

function passwordOf(value: string): string[] {
  if (!URL.canParse(value)) return [];
  const { password } = new URL(value);
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password]; // a stray percent sign: as it is written
  }
}

function encodingsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  const hex = bytes.toString("hex");
  const percent = percentOf(text);
  return [
    text,
    ...base64Of(bytes),
    hex,
    hex.toUpperCase(),
    percent,
    percent.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    percent.replaceAll("%20", "+"),
    JSON.stringify(text).slice(1, -1),
  ];
}

/** Half of a character beyond Unicode's first plane has no such form. */
function percentOf(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return text;
  }
}

/** At each of the three places where bytes can begin in base64, without the characters that its neighbours share. */
function base64Of(bytes: Buffer): string[] {
  const inner = [0, 1, 2].map((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]);
    const shared = Math.ceil((before * 8) / 6);
    return whole.toString("base64").slice(shared, Math.floor((whole.length * 8) / 6));
  });
  return [
    bytes.toString("base64"),
    ...inner.flatMap((form) => [form, form.replaceAll("+", "-").replaceAll("/", "_")]),
  ];
}
