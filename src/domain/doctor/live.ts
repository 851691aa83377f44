/** What `sluice doctor --live` makes of what a real path answered. Pure. */
import type { Check } from "./doctor.ts";

/** An answer of a slot in which nothing runs, asked over its tunnel as a visitor's request would be. */
export interface SlotAnswer {
  readonly host: string;
  readonly origin: string;
  /** Null: no answer, and `error` says why. */
  readonly status: number | null;
  readonly error: string | null;
  /** The beginning of the body. */
  readonly body: string;
  /** Cloudflare's security that answered in the slot's place, and what to set; null: none did. */
  readonly stopped: { readonly by: string; readonly words: string; readonly fix: string } | null;
  /** Sluice's own shield answered: what was shown to it did not open it. */
  readonly isShielded: boolean;
  readonly durationMs: number;
}

/**
 * cloudflared answers 502 for a port on which nothing listens: with it the whole path is proven, edge, tunnel and ingress
 * rule. What else may come, and what it means, is in docs/cloudflare.md with its sources.
 */
export function judgePath(answer: SlotAnswer): Check {
  const { host, origin, status, error, body, stopped, isShielded, durationMs } = answer;
  const check = { id: "live.path", subject: host } as const;
  const said = `GET ${origin} from control`;
  const fail = (detail: string, fix: string): Check => ({ ...check, status: "fail", detail, fix });
  if (status === null)
    return fail(`${said}: ${error ?? "no answer"}`, "sluice hosts show: is its tunnel ready?");
  if (status === 502) {
    const detail = `the path through its tunnel works (an empty slot answered in ${durationMs} ms)`;
    return { ...check, status: "ok", detail, fix: null };
  }
  if (isShielded) {
    const detail = `${said} was stopped by Sluice's own shield, which did not take control's proof`;
    return fail(detail, "sluice setup --rotate shield-key puts the same SHIELD_KEY on both Workers");
  }
  const code = /\b1(?:033|016)\b/.exec(body)?.[0];
  if (status === 530 || code) {
    const cause = code === "1016" ? "its DNS record is missing" : "no cloudflared is connected";
    return fail(
      `${said} answered ${status}${code ? ` (error ${code})` : ""}: ${cause}`,
      `sluice hosts show ${host}`,
    );
  }
  if (stopped && stopped.by !== "access")
    return fail(`${said} answered ${status}: ${stopped.words}`, stopped.fix);
  if (stopped || status === 401 || status === 403) {
    const detail = `${said} answered ${status}: Cloudflare Access refuses control's service token`;
    return fail(detail, "sluice setup --access puts the token on both Workers");
  }
  if (status === 404) {
    const detail = `${said} answered 404: cloudflared does not know this slot, its ingress rules are older`;
    return fail(detail, "wait a minute and try again; then sluice hosts rotate-tunnel");
  }
  const detail = `${said} answered ${status}: something listens on a port of a slot that should be empty`;
  return { ...check, status: "warn", detail, fix: `on ${host}: ss -ltnp, and move what listens there` };
}
