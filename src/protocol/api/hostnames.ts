import { z } from "zod";
import { longest, NUMBER } from "../../domain/previews/hostname.ts";
import { comparable, nameOf, prefixOf } from "../../domain/routing/site.ts";

/** Hostname grants in the HTTP API: which names an administrator lets an app have. */

const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const NAME = new RegExp(`^(?:${LABEL}\\.)+(?:xn--[a-z0-9-]{1,59}|[a-z][a-z0-9-]{0,61}[a-z0-9])$`);
const PATTERN = /^(?:\*\.)?(.+)$/;
const RULE =
  "must be a hostname such as shop.example.com, or with the beginning of a path, shop.example.com/api: no scheme or port";
/** Of what looks like a hostname and is none, what it is; the first that fits. */
const MISTAKES: readonly (readonly [RegExp, string])[] = [
  [
    /^\*\.[^/:]+\/\S*$/,
    "is a path below a wildcard, and a path goes with one hostname: write shop.example.com/api for each",
  ],
  [
    /^[^/:]+\/\S*$/,
    "has a path that no request is compared with: write /api or /api/v2, of letters, digits, `.`, `_`, `~` and `-`, without a query or segments of dots",
  ],
  [/_/, "has an underscore, which no public hostname may have: use a dash"],
  [
    /[^\0-\x7f]/,
    "has letters beyond a-z: write it as DNS does, with xn-- (`münchen.example` is `xn--mnchen-3ya.example`)",
  ],
];
const ruleFor = (text: unknown): string =>
  MISTAKES.find(([pattern]) => pattern.test(String(text)))?.[1] ?? RULE;
const PATTERN_RULE =
  "must be a hostname such as shop.example.com, *.shop.example.com for all below it, shop.example.com/api for a part of its paths, or pr-{number}-shop.example.com for previews";
const PREFIX = /^(?:\/[A-Za-z0-9._~-]+)+$/;
/** A copy's key in KV has room for 512 bytes. */
const MOST_PATH = 200;

/**
 * A hostname, or `*.` before one for all names below it, or one with the beginning of a path, in the one spelling that is
 * compared: the name in lower case, without the root's dot; the path as it is, without a slash at its end.
 */
export const hostnameSchema = z
  .string()
  .overwrite(spelled)
  .refine(isSite, { error: ({ input }) => ruleFor(input) });

/** What can be granted: a name, with `*.` all names below one of two labels or more, or what lies below a path of one. */
export const hostnamePatternSchema = z
  .string()
  .max(500)
  .overwrite(spelled)
  .refine((text) => isSite(text) || isNumberedName(text), PATTERN_RULE);

/** One hostname with a pull request's number in its first label: that of previews. */
export function isNumberedName(pattern: string): boolean {
  const parts = pattern.split(NUMBER);
  return parts.length === 2 && !parts[0]?.includes(".") && isHostname(longest(pattern));
}

function spelled(text: string): string {
  const name = nameOf(text);
  return name.toLowerCase().replace(/\.$/, "") + text.slice(name.length).replace(/\/+$/, "");
}

function isSite(site: string): boolean {
  const [name, prefix] = [nameOf(site), prefixOf(site)];
  if (prefix === "") return isHostname(PATTERN.exec(name)?.[1] ?? "");
  return (
    isHostname(name) && prefix.length <= MOST_PATH && PREFIX.test(prefix) && comparable(prefix) === prefix
  );
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
    /** `shop.example.com`, `*.shop.example.com` for everything below that name, or `shop.example.com/api` for a part of its paths. */
    pattern: z.string(),
    claim: z.boolean(),
    by: z.string(),
    createdAt: z.iso.datetime(),
    /** The app's hostnames that it covers. */
    covers: z.array(z.object({ hostname: z.string(), environment: z.string() })),
  })
  .meta({ id: "HostnameGrant" });
export type HostnameGrantView = z.infer<typeof hostnameGrantSchema>;
