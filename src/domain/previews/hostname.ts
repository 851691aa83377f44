/** Hostnames of previews: one for each pull request, by its number. */

export const NUMBER = "{number}";
/** As GitHub counts them, with room: a label has to hold it. */
const MOST_DIGITS = 9;
const DIGITS = new RegExp(`^[1-9]\\d{0,${MOST_DIGITS - 1}}$`);

export const isNumber = (text: string): boolean => DIGITS.test(text);

/** What a pull request's preview is called, as an environment. No manifest's environment may be called so. */
export const previewName = (number: number): string => `pr-${number}`;
export const isPreviewName = (environment: string): boolean => /^pr-\d+$/.test(environment);

/** `pr-{number}-shop.example.com` → `pr-12-shop.example.com`. */
export const numbered = (pattern: string, number: number): string =>
  pattern.replaceAll(NUMBER, String(number));

/** The longest name that a pattern comes to: where it is a hostname, all of them are. */
export const longest = (pattern: string): string => pattern.replaceAll(NUMBER, "9".repeat(MOST_DIGITS));

/** Whether a pattern with a number stands for a name: `pr-{number}-shop.example.com` for `pr-12-shop.example.com`, and itself. */
export function isNumbered(pattern: string, hostname: string): boolean {
  const [before = "", after, more] = pattern.split(NUMBER);
  if (after === undefined || more !== undefined) return false;
  if (pattern === hostname) return true;
  const digits = hostname.slice(before.length, hostname.length - after.length);
  return hostname === before + digits + after && isNumber(digits);
}
