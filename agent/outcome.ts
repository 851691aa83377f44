import type { JobError } from "../src/protocol/agent/job-results.ts";

/** What a job or a runtime call came to: a value, or the error control will be told. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: JobError };

export const done = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });

type Facts = Partial<Omit<JobError, "code" | "message">>;

/** A failed outcome, within the limits the protocol sets on its texts. */
export function failed(
  code: JobError["code"],
  message: string,
  facts: Facts = {},
): { readonly ok: false; readonly error: JobError } {
  return { ok: false, error: { logs: [], ...facts, code, message: message.slice(0, 2_000) } };
}

/** An app's text, cut for one of ours to hold it. Where it was cut is to be seen: a value may have been cut in two. */
export const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;

/** The words of anything thrown, with what it was caused by. */
export function words(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause instanceof Error ? ` (${thrown.cause.message || thrown.cause.name})` : "";
  return `${thrown.message || thrown.name}${cause}`;
}
