/** Cloudflare's security stands before every proxied hostname, control's and the slots' too: it may answer in their place. */
export interface Interception {
  readonly by: "challenge" | "access" | "integrity" | "firewall" | "limit" | "allowance";
  /** What it was, for a sentence about what was asked: `stopped by …`. */
  readonly words: string;
  /** What to set, and where. */
  readonly fix: string;
}

interface Intercepted {
  readonly status: number;
  readonly headers: Pick<Headers, "get">;
  /** The beginning is enough. Absent: only what the headers prove, a challenge or Access's login, is found. */
  readonly body?: string;
}

const CHALLENGE: Interception = {
  by: "challenge",
  words:
    "stopped by a challenge of Cloudflare's (cf-mitigated: challenge), which only a browser can answer: Bot Fight Mode, “I'm Under Attack”, or a WAF rule",
  fix: "in Cloudflare's dashboard, in the zone of this hostname: switch Bot Fight Mode off (no rule can skip it), set the security level below “I'm Under Attack”, or have a WAF rule skip this hostname (docs/cloudflare.md, Zone security)",
};

const ACCESS: Interception = {
  by: "access",
  words: "stopped by Cloudflare Access, which wants a login",
  fix: "in Cloudflare's Zero Trust dashboard: take this hostname out of the Access application, or give that a Bypass policy for it (docs/cloudflare.md, Zone security)",
};

/** Cloudflare's own error pages: https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/ */
const BY_CODE: Readonly<Record<string, Interception>> = {
  "1010": {
    by: "integrity",
    words: "stopped by Cloudflare's Browser Integrity Check (error 1010)",
    fix: "in the zone of this hostname: switch Browser Integrity Check off, or have a configuration rule do it for this hostname",
  },
  "1015": {
    by: "limit",
    words: "stopped by a rate limiting rule of the zone (error 1015)",
    fix: "in the zone of this hostname: Security, rate limiting rules: leave this hostname out",
  },
  "1027": {
    by: "allowance",
    words: "refused because the day's Worker requests of the Free plan are used up (error 1027)",
    fix: "wait until 00:00 UTC, or take the Workers Paid plan (docs/limits.md)",
  },
};
const FIREWALL = /^10(?:06|07|08|09|20)$/;

/**
 * Who answered in the place of what was asked; null: nobody that shows. Cloudflare marks each challenge with `cf-mitigated`
 * (https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/); its error
 * pages are known by its `server` header and their code.
 */
export function interceptionOf({ status, headers, body = "" }: Intercepted): Interception | null {
  if (headers.get("cf-mitigated")?.toLowerCase() === "challenge") return CHALLENGE;
  if (isAccess(headers)) return ACCESS;
  const isRefusal = status === 403 || status === 429 || status === 503;
  if (!isRefusal || headers.get("server")?.toLowerCase() !== "cloudflare") return null;
  const code = /\berror(?: code)?:?\s*(10\d\d)\b|cf-error-code">(10\d\d)</i
    .exec(body)
    ?.slice(1)
    .find(Boolean);
  if (code === undefined) return null;
  if (FIREWALL.test(code)) return firewall(code);
  return BY_CODE[code] ?? null;
}

/** It sends browsers to its login, and names itself to others in what they must prove. An app may lead to it as its own sign-in. */
const isAccess = (headers: Intercepted["headers"]): boolean =>
  /^https:\/\/[a-z0-9-]+\.cloudflareaccess\.com\/cdn-cgi\/access\/login\b/.test(
    headers.get("location") ?? "",
  ) || /^Cloudflare-Access\b/i.test(headers.get("www-authenticate") ?? "");

const firewall = (code: string): Interception => ({
  by: "firewall",
  words: `refused by a firewall rule of the zone (error ${code})`,
  fix: "in the zone of this hostname: Security, events: the rule that refused it; have it leave this hostname out",
});
