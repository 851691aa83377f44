import { parseTraceparent } from "../../../domain/tracing/context.ts";
import { type Attributes, ROOT, type Span } from "../../../domain/tracing/spans.ts";
import { type ReleaseOfTrace, spanIdOf, traceIdOf } from "../../trace-ids.ts";

/**
 * OTLP 1.x over HTTP as JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids are hex, 64-bit numbers
 * are texts, enums are numbers.
 */

const INTERNAL = 1;
const STATUS = { unset: 0, ok: 1, error: 2 } as const;
/** Recorded, and whether the parent is somebody else's is known; and then whether it is. */
const [SAMPLED, KNOWN_REMOTE, REMOTE] = [0x001, 0x100, 0x200];
const MOST_CHARS = 1_000;

/** The body of an export: some spans of one release. */
export async function exportBody(
  release: ReleaseOfTrace,
  spans: readonly Span[],
  version: string,
): Promise<object> {
  const traceId = await traceIdOf(release);
  const wired = await Promise.all(spans.map((span) => wireSpan(release, traceId, span)));
  return {
    resourceSpans: [
      {
        resource: { attributes: wireAttributes({ "service.name": "sluice", "service.version": version }) },
        scopeSpans: [{ scope: { name: "sluice", version }, spans: wired }],
      },
    ],
  };
}

async function wireSpan(release: ReleaseOfTrace, traceId: string, span: Span): Promise<object> {
  const { traceparent, tracestate } = release.trace ?? {};
  const maker = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  const isRemote = span.key === ROOT && maker !== undefined;
  const parentSpanId = span.parent === null ? (maker?.spanId ?? "") : await spanIdOf(release.id, span.parent);
  const { status } = span;
  return {
    traceId,
    spanId: await spanIdOf(release.id, span.key),
    ...(tracestate === undefined ? {} : { traceState: tracestate }),
    parentSpanId,
    flags: SAMPLED | KNOWN_REMOTE | (isRemote ? REMOTE : 0),
    name: span.name,
    kind: INTERNAL,
    startTimeUnixNano: nanos(span.start),
    endTimeUnixNano: nanos(span.end),
    attributes: wireAttributes(span.attributes),
    events: span.notes.map(({ at, text }) => ({ timeUnixNano: nanos(at), name: text.slice(0, MOST_CHARS) })),
    status:
      status.code === "error"
        ? { code: STATUS.error, message: status.message.slice(0, MOST_CHARS) }
        : { code: STATUS[status.code] },
  };
}

const nanos = (ms: number): string => `${Math.round(ms)}000000`;

const wireAttributes = (attributes: Attributes): object[] =>
  Object.entries(attributes).flatMap(([key, value]) =>
    value === null || value === undefined ? [] : [{ key, value: wireValue(value) }],
  );

function wireValue(value: string | number | boolean): object {
  if (typeof value === "string") return { stringValue: value.slice(0, MOST_CHARS) };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
