/** W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request is part of. Pure. */

/** As a request carries it. */
export interface TraceContext {
  readonly traceparent: string;
  /** Of the systems before, in their own words; absent: they say nothing. */
  readonly tracestate?: string | undefined;
}

/** A release's: of whoever made it, or its own (empty). Null: nobody is told of traces. */
export type ReleaseTrace = Partial<TraceContext>;

interface Parent {
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** 16 of them: the span that asked. */
  readonly spanId: string;
  readonly isSampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NOTHING = /^0+$/;
/** The specification asks for 512 at least. */
const MOST_STATE_CHARS = 512;
const STATE = /^[\x20-\x7e]+$/;

/** What a `traceparent` says; undefined: it is none. Of a version to come only what this one knows is read, as it asks. */
export function parseTraceparent(text: string): Parent | undefined {
  const [, version, traceId = "", spanId = "", flags = "", more] = TRACEPARENT.exec(text) ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (NOTHING.test(traceId) || NOTHING.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/**
 * The context that two headers make; undefined: there is none to continue. One that its maker doesn't record isn't continued:
 * what is told under it would hang in the air.
 */
export function traceContextOf(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | undefined {
  if (traceparent === undefined || !parseTraceparent(traceparent)?.isSampled) return undefined;
  const isState = tracestate !== undefined && tracestate.length <= MOST_STATE_CHARS && STATE.test(tracestate);
  return isState ? { traceparent, tracestate } : { traceparent };
}
