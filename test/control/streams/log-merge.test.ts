import { describe, expect, it } from "vitest";
import { LogMerge } from "../../../src/control/streams/log-merge.ts";
import { formatPlace, parsePlace } from "../../../src/control/streams/log-place.ts";

const ALL = { lines: 1_000, chars: 1_000_000 };
const line = (at: number, instance: string, text = `${instance} ${at}`) => ({
  at,
  instance,
  version: "v1",
  stream: "stdout" as const,
  cursor: String(at),
  text,
});
const texts = (merge: LogMerge, now: number, max = ALL) => merge.take(now, max).map(({ text }) => text);

describe("lines of several hosts", () => {
  it("that are written just now wait a moment for earlier ones", () => {
    const merge = new LogMerge({ windowMs: 300, holdMs: 3_000 });
    for (const host of ["anna", "bert"]) merge.stand(host, "live");
    merge.push("anna", [line(20, "a"), line(40, "a")], 1_000);
    merge.push("bert", [line(10, "b"), line(30, "b"), line(50, "b")], 1_200);
    expect(texts(merge, 1_299)).toEqual([]);
    expect(texts(merge, 1_300)).toEqual(["b 10", "a 20", "b 30", "a 40"]);
    expect(texts(merge, 1_500)).toEqual(["b 50"]);
  });

  it("of the past come in order, however long one of the hosts takes to read it", () => {
    const merge = new LogMerge({ windowMs: 300, holdMs: 3_000 });
    merge.stand("anna", "reading");
    merge.stand("bert", "asked");
    merge.push("anna", [line(10, "a"), line(30, "a")], 1_000);
    expect(texts(merge, 1_900)).toEqual([]);
    merge.stand("bert", "reading");
    merge.push("bert", [line(20, "b")], 2_000);
    expect(texts(merge, 2_000)).toEqual(["a 10", "b 20"]);
    merge.stand("bert", "quiet");
    expect(texts(merge, 2_001)).toEqual(["a 30"]);
  });

  it("don't wait for ever for a host that stopped in the middle", () => {
    const merge = new LogMerge({ windowMs: 300, holdMs: 3_000 });
    merge.stand("anna", "live");
    merge.stand("bert", "reading");
    merge.push("anna", [line(10, "a")], 1_000);
    expect(texts(merge, 3_999)).toEqual([]);
    expect(texts(merge, 4_000)).toEqual(["a 10"]);
  });

  it("keep an instance's own order, whatever its clock does", () => {
    const merge = new LogMerge({ windowMs: 300, holdMs: 3_000 });
    merge.stand("anna", "live");
    merge.push("anna", [line(50, "a", "one"), line(10, "a", "two"), line(20, "a", "three")], 1_000);
    expect(texts(merge, 1_300)).toEqual(["one", "two", "three"]);
  });

  it("fill no more than their room, and make some when nothing else helps", () => {
    const merge = new LogMerge();
    merge.stand("anna", "live");
    merge.stand("bert", "asked");
    let pushed = 0;
    for (; merge.hasRoom; pushed += 100)
      merge.push(
        "anna",
        Array.from({ length: 100 }, (_, n) => line(pushed + n, "a", "x".repeat(1_000))),
        1_000,
      );
    expect(pushed).toBeLessThan(2_000);
    expect(merge.take(1_000, ALL).length).toBeGreaterThan(pushed / 3);
    expect(merge.hasRoom).toBe(true);
    expect(merge.take(1_000, ALL)).toEqual([]);
  });

  it("are taken in parts that a reader can hold", () => {
    const merge = new LogMerge();
    merge.stand("anna", "quiet");
    merge.push(
      "anna",
      [1, 2, 3, 4].map((at) => line(at, "a", "x".repeat(100))),
      1_000,
    );
    expect(merge.take(1_000, { lines: 3, chars: 250 })).toHaveLength(2);
    expect(merge.take(1_000, { lines: 1, chars: 10 })).toHaveLength(1);
  });
});

describe("a place in a log stream", () => {
  it("survives its way through an event's id", () => {
    const after = new Map([
      ["rel_1-1", "1790000000.123456789:0"],
      ["rel_1-2", "4711"],
    ]);
    const place = { from: 1_790_000_000_000, since: null, after };
    expect(parsePlace(formatPlace(place))).toEqual(place);
    expect(parsePlace(formatPlace({ from: 1, since: 2, after: new Map() }))).toEqual({
      from: 1,
      since: 2,
      after: new Map(),
    });
  });

  it.each([
    "",
    "1",
    "x//",
    "1//a",
    "1//=5",
    "1//a=5=6",
    "1//a=b",
    "1//a=5;b=6",
    `1//${"a".repeat(30_000)}=1`,
  ])("is not `%s`", (text) => expect(parsePlace(text)).toBeUndefined());
});
