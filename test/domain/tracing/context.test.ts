import { describe, expect, it } from "vitest";
import { parseTraceparent, traceContextOf } from "../../../src/domain/tracing/context.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

describe("a traceparent", () => {
  it("names trace and span, and whether its maker records it", () => {
    const parent = { traceId: TRACE, spanId: SPAN };
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01`)).toEqual({ ...parent, isSampled: true });
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-02`)).toEqual({ ...parent, isSampled: false });
    // Of a version to come, what this one knows is read.
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01-more`)).toEqual({ ...parent, isSampled: true });
  });

  it.each([
    "",
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-01\r\nx: y`,
  ])("is none: %j", (text) => {
    expect(parseTraceparent(text)).toBe(undefined);
    expect(traceContextOf(text, "a=b")).toBe(undefined);
  });

  it("that its maker doesn't record isn't continued, and no tracestate goes along that is none", () => {
    expect(traceContextOf(`00-${TRACE}-${SPAN}-00`, undefined)).toBe(undefined);
    const traceparent = `00-${TRACE}-${SPAN}-01`;
    expect(traceContextOf(traceparent, "ci=1,x=2")).toEqual({ traceparent, tracestate: "ci=1,x=2" });
    for (const state of ["a".repeat(513), "a\nb", ""])
      expect(traceContextOf(traceparent, state)).toEqual({ traceparent });
  });
});
