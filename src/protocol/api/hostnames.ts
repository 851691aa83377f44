import { z } from "zod";

/** Hostname grants in the HTTP API: which names an administrator lets an app have. */

const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const NAME = new RegExp(`^(?:${LABEL}\\.)+(?:xn--[a-z0-9-]{1,59}|[a-z][a-z0-9-]{0,61}[a-z0-9])$`);
const PATTERN = /^(?:\*\.)?(.+)$/;
const RULE = "must be a hostname such as shop.example.com: no scheme, port or path";
/** Of what looks like a hostname and is none, what it is; the first that fits. */
const MISTAKES: readonly (readonly [RegExp, string])[] = [
  [/^[^/:]+\/\S*$/, "has a path: an environment takes whole hostnames, without one"],
  [/_/, "has an underscore, which no public hostname may have: use a dash"],
  [
    /[^\0-\x7f]/,
    "has letters beyond a-z: write it as DNS does, with xn-- (`münchen.example` is `xn--mnchen-3ya.example`)",
  ],
];
const ruleFor = (text: unknown): string =>
  MISTAKES.find(([pattern]) => pattern.test(String(text)))?.[1] ?? RULE;
const PATTERN_RULE = "must be a hostname such as shop.example.com, or *.shop.example.com for all below it";

/** A hostname, or `*.` before one for all names below it, in the one spelling that is compared: lower case, without the root's dot. */
export const hostnameSchema = z
  .string()
  .toLowerCase()
  .overwrite(rootless)
  .refine((text) => isHostname(PATTERN.exec(text)?.[1] ?? ""), { error: ({ input }) => ruleFor(input) });

/** What can be granted: a name, or with `*.` all names below one of two labels or more. */
export const hostnamePatternSchema = z
  .string()
  .max(255)
  .toLowerCase()
  .overwrite(rootless)
  .refine((text) => isHostname(PATTERN.exec(text)?.[1] ?? ""), PATTERN_RULE);

function rootless(text: string): string {
  return text.replace(/\.$/, "");
}

function isHostname(name: string): boolean {
  return name.length <= 253 && NAME.test(name) && isSpelledAsIs(name);
}

/** What a URL would spell otherwise is another name than it looks: an address in disguise, letters that aren't. */
function isSpelledAsIs(name: string): boolean {
  try {
    return new URL(`https://${name}`).hostname === name;
  } catch {
    // No URL can have it: it is no hostname.
    return false;
  }
}

export const allowHostnameSchema = z
  .strictObject({
    /** Also names that lead to another site by now. */
    claim: z.boolean().default(false),
  })
  .meta({ id: "AllowHostname" });

export const hostnameGrantSchema = z
  .object({
    /** `shop.example.com`, or `*.shop.example.com` for everything below that name. */
    pattern: z.string(),
    claim: z.boolean(),
    by: z.string(),
    createdAt: z.iso.datetime(),
    /** The app's hostnames that it covers. */
    covers: z.array(z.object({ hostname: z.string(), environment: z.string() })),
  })
  .meta({ id: "HostnameGrant" });
export type HostnameGrantView = z.infer<typeof hostnameGrantSchema>;
