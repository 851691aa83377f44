import { parseTraceparent, type ReleaseTrace } from "../domain/tracing/context.ts";
import { ROOT } from "../domain/tracing/spans.ts";
import { sha256 } from "./ids.ts";

/** Digits of hex. */
const [TRACE_CHARS, SPAN_CHARS] = [32, 16];

export interface ReleaseOfTrace {
  readonly id: string;
  readonly trace?: ReleaseTrace | null | undefined;
}

/** The trace of whoever made the release, or one that its id names: the first 16 bytes of its SHA-256. */
export async function traceIdOf({ id, trace }: ReleaseOfTrace): Promise<string> {
  const parent = trace?.traceparent && parseTraceparent(trace.traceparent);
  return parent ? parent.traceId : (await sha256(id)).slice(0, TRACE_CHARS);
}

/** A span is the same however often it is told of. */
export const spanIdOf = async (release: string, key: string): Promise<string> =>
  (await sha256(`${release}/${key}`)).slice(0, SPAN_CHARS);

/** What goes along with a question, or a command, that is part of a release; nothing where nobody is told of traces. */
export async function contextWithin(
  release: ReleaseOfTrace,
  key: string = ROOT,
): Promise<{ traceparent?: string; tracestate?: string }> {
  if (!release.trace) return {};
  const { tracestate } = release.trace;
  const traceparent = `00-${await traceIdOf(release)}-${await spanIdOf(release.id, key)}-01`;
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
}
