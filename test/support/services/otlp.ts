import { z } from "zod";

/**
 * What a collector takes: OTLP 1.x over HTTP as JSON, by opentelemetry-proto's trace.proto, common.proto and resource.proto and
 * by the specification of their JSON. Strict: a field that they don't have, or of another form, is refused.
 */

/** 64 bits unsigned, as JSON has them. */
const nanos = z
  .string()
  .regex(/^[1-9]\d{0,19}$/)
  .refine((text) => BigInt(text) < 2n ** 64n);
const id = (digits: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${digits}}$`))
    .refine((text) => !/^0+$/.test(text), "all zeroes name nothing");

const value = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ intValue: z.string().regex(/^-?\d{1,19}$/) }),
  z.strictObject({ doubleValue: z.number() }),
]);
const attributes = z
  .array(z.strictObject({ key: z.string().min(1), value }))
  .refine((all) => new Set(all.map(({ key }) => key)).size === all.length, "each key is there once");

const spanSchema = z
  .strictObject({
    traceId: id(32),
    spanId: id(16),
    traceState: z.string().optional(),
    /** Empty: it is the trace's root. */
    parentSpanId: z.union([z.literal(""), id(16)]).optional(),
    /** Trace flags in the lowest 8 bits, then whether the parent is known to be remote, and is. */
    flags: z.number().int().min(0).max(0x3ff).optional(),
    name: z.string().min(1),
    kind: z.number().int().min(0).max(5),
    startTimeUnixNano: nanos,
    endTimeUnixNano: nanos,
    attributes: attributes.optional(),
    droppedAttributesCount: z.number().int().optional(),
    events: z
      .array(
        z.strictObject({ timeUnixNano: nanos, name: z.string().min(1), attributes: attributes.optional() }),
      )
      .optional(),
    status: z
      .strictObject({ message: z.string().optional(), code: z.number().int().min(0).max(2) })
      .optional(),
  })
  .refine(
    (span) => BigInt(span.startTimeUnixNano) <= BigInt(span.endTimeUnixNano),
    "it ends before it begins",
  );

const scope = z.strictObject({ name: z.string(), version: z.string().optional() });
const exportSchema = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes }),
      scopeSpans: z.array(z.strictObject({ scope, spans: z.array(spanSchema).min(1) })).min(1),
    }),
  ),
});
export type WireSpan = z.output<typeof spanSchema>;

/** The spans of a request's body. Throws where a collector would refuse it. */
export const spansIn = (body: unknown): WireSpan[] =>
  exportSchema
    .parse(body)
    .resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));

/** An attribute's value; undefined: it has none of that name. */
export function attribute(span: WireSpan | undefined, key: string): unknown {
  const found = span?.attributes?.find((one) => one.key === key);
  return found && Object.values(found.value)[0];
}
