import { isPreviewName } from "../previews/hostname.ts";

/** What people and their programs are told of: which events, how grave, and in which words. Pure. */

/** `info`: all of it. `warn`: something waits for a person, or was ended by one. `error`: something failed. */
export const SEVERITIES = ["info", "warn", "error"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The parts of an event that a notice is made from. */
export interface NotableEvent {
  readonly type: string;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Notice {
  /** What subscribers choose by: `release.live`, `traffic.alert`. */
  readonly type: string;
  readonly severity: Severity;
  /** Why it failed, in one sentence; null: nothing failed. */
  readonly reason: string | null;
}

/** Too many, and of no use to anybody outside; `webhook.*` would tell a broken target that it is broken, for ever. */
const UNTOLD = /^(?:instance\.state|webhook\..+)$/;

/** What an event is to those who are told of it; undefined: nobody is. */
export function noticeOf(event: NotableEvent): Notice | undefined {
  if (event.type === "webhook.test") return { type: event.type, severity: "error", reason: null };
  if (UNTOLD.test(event.type)) return undefined;
  const reason = failureOf(event);
  const { state } = event.data;
  const isState = event.type === "release.state" && typeof state === "string";
  return {
    type: isState ? `release.${state}` : event.type,
    severity: reason !== null ? "error" : severityOf(event, isState ? state : null),
    reason,
  };
}

function severityOf(event: NotableEvent, state: unknown): Severity {
  if (state === "failed" || state === "rolled_back" || state === "rolling_back") return "error";
  if (state === "aborted" || "paused" in event.data || "approval" in event.data) return "warn";
  if (event.type === "worker.alert" && typeof event.data.code === "string") return "error";
  return "info";
}

function failureOf({ data }: NotableEvent): string | null {
  const { failure } = data;
  if (typeof failure !== "object" || failure === null || !("message" in failure)) return null;
  return typeof failure.message === "string" ? firstSentence(failure.message) : null;
}

const MOST_CHARS = 300;
/** Its first line that says anything, cut at a length that fits every phone. */
export const firstSentence = (text: string): string =>
  cut(
    text
      .split(/[\n\r\u2028\u2029]/)
      .find((line) => line.trim() !== "")
      ?.trim() ?? "",
    MOST_CHARS,
  );

/** No longer than so many UTF-16 units, and no half of a character at its end. */
export const cut = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, "")}…` : text;

/** Who wants to be told of what. Null: whatever it is. */
export interface Wanted {
  readonly app: string | null;
  readonly environment: string | null;
  /** Types, also as `release.*`. */
  readonly events: readonly string[] | null;
  readonly severity: Severity;
}

export function wants(
  wanted: Wanted,
  notice: Notice,
  of: { readonly app: string | null; readonly environment: string | null },
): boolean {
  if (wanted.app !== null && wanted.app !== of.app) return false;
  if (wanted.environment !== null && wanted.environment !== of.environment) return false;
  if (wanted.environment === null && isOfPreview(notice, of.environment)) return false;
  if (SEVERITIES.indexOf(notice.severity) < SEVERITIES.indexOf(wanted.severity)) return false;
  return wanted.events?.some((pattern) => isOf(notice.type, pattern)) ?? true;
}

/** Each push to a pull request is a release there: whoever wants to hear of them names the preview. */
const isOfPreview = ({ type }: Notice, environment: string | null) =>
  environment !== null && isPreviewName(environment) && !type.startsWith("preview.");

const isOf = (type: string, pattern: string): boolean =>
  pattern.endsWith(".*") ? type.startsWith(pattern.slice(0, -1)) : type === pattern;
