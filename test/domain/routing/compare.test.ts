import { describe, expect, it } from "vitest";
import { Comparisons, differences, fieldsOf, type Seen } from "../../../src/domain/routing/compare.ts";

const json = (value: unknown): Seen => said(JSON.stringify(value));
const said = (text: string, type = "application/json", status = 200): Seen => ({
  status,
  type,
  fields: fieldsOf(text),
});
const found = (a: Seen, b: Seen) => [...differences(a, b)];

describe("what differs between two answers", () => {
  it("is named by path, places in lists folded", () => {
    const items = (price: unknown) =>
      json({
        total: 3,
        items: [
          { sku: "a", price: 1 },
          { sku: "b", price },
        ],
      });
    expect(found(items(2), items(2))).toEqual([]);
    expect(found(items(2), items(3))).toEqual(["$.items[].price"]);
    expect(found(items(2), items("2"))).toEqual(["$.items[].price"]);
    expect(found(items(2), json({ items: [] }))).toEqual([
      "$.total",
      "$.items[].sku",
      "$.items[].price",
      "$.items[]",
    ]);
    expect(found(json(1), json(null))).toEqual(["$"]);
  });

  it("is the order of a list alone where its values are the same", () => {
    const list = (...ids: number[]) => json({ list: ids.map((id) => ({ id, name: `n${id}` })) });
    expect(found(list(1, 2, 3), list(3, 1, 2))).toEqual(["$.list[] order"]);
    expect(found(list(1, 2, 3), list(3, 1, 4))).toEqual(["$.list[].id", "$.list[].name"]);
  });

  it("is never the order of an object's keys, and not its unit of space", () => {
    expect(found(said('{"a":1,"b":[]}'), said('{ "b": [], "a": 1.0 }'))).toEqual([]);
  });

  it("is status alone where that differs, and content type beside fields", () => {
    expect(found(said('{"a":1}'), said('{"error":1}', "text/plain", 500))).toEqual(["status"]);
    expect(found(said('{"a":1}'), said('{"a":2}', "application/json; charset=utf-8"))).toEqual([
      "content-type",
      "$.a",
    ]);
    expect(found(said('{"a":1}'), { status: 200, type: "text/html", fields: null })).toEqual([
      "content-type",
    ]);
    expect(found(said('{"a":1}'), { status: 200, type: "application/json", fields: null })).toEqual([]);
  });

  it("is `not JSON` where one says that it is and isn't", () => {
    expect(found(said('{"a":1}'), said('{"a":'))).toEqual(["not JSON"]);
    expect(found(said("{"), said("}"))).toEqual([]);
  });

  it("names no key that may be somebody's: ids, addresses and keys of long lists are folded", () => {
    const ids = ["550e8400-e29b-41d4-a716-446655440000", "12345", "dQw4w9WgXcQ", "usr_9fK2dLmz"];
    const names = ["bob@example.com", "@bob:example.com", "bob.example.com", "Bob Smith", ""];
    const keys = [...ids, ...names];
    for (const key of keys) {
      expect(found(json({ users: { [key]: 1 } }), json({ users: { [key]: 2 } }))).toEqual(["$.users.{}"]);
    }
    const entries = Array.from({ length: 60 }, (_, n) => [`n${"abcdefgh"[n % 8]}${"ijklmnop"[n >> 3]}`, n]);
    const many = Object.fromEntries(entries);
    expect(found(json(many), json({ ...many, nai: -1 }))).toEqual(["$.{}"]);
  });

  it("takes prototype keys and keys given twice as what they are", () => {
    expect(found(said('{"__proto__":{"x":1}}'), said('{"__proto__":{"x":2}}'))).toEqual(["$.__proto__.x"]);
    expect(found(said('{"constructor":1}'), said("{}"))).toEqual(["$.constructor", "$"]);
    expect(found(said('{"a":1,"a":2}'), said('{"a":2}'))).toEqual([]);
    expect(Object.hasOwn(Object.prototype, "x")).toBe(false);
  });

  it("is nothing that only lies past where one of them was cut", () => {
    const long = (items: number) => json({ items: Array(items).fill(7), total: 1 });
    expect(found(long(1_999), long(2_001))).toEqual(["$.items[]"]);
    const names = Array.from({ length: 200 }, (_, n) => `${"abcdefghij"[n % 10]}${"k".repeat(n / 10)}`);
    const parted = (keys: string[]) =>
      json(
        [0, 41, 82, 123, 164].map((at) => Object.fromEntries(keys.slice(at, at + 41).map((key) => [key, 1]))),
      );
    expect(found(parted(names), parted(["new", ...names]))).toEqual(["$[].new"]);
    expect(found(long(2_001), json({ items: Array(2_001).fill(8), total: 1 }))).toEqual(["$.items[]"]);
  });

  it("is looked for in bounded work, however deep, wide or long an answer is", () => {
    const deep = (leaf: number) => said("[".repeat(30_000) + leaf + "]".repeat(30_000));
    expect(found(deep(1), deep(2))).toEqual([]);
    const wide = fieldsOf(
      JSON.stringify(
        Array.from({ length: 100 }, (_, n) =>
          Object.fromEntries(
            Array.from({ length: 9 }, (_, k) => ["ab".repeat((n % 10) + 1) + "cdefghijk"[k] + n, k]),
          ),
        ),
      ),
    );
    expect(typeof wide === "string" || [...wide.keys()].filter((path) => path !== "")).toHaveLength(200);
    const long = fieldsOf(`[${"1,".repeat(32_000)}1]`);
    expect(typeof long === "string" || long.get("$[]")?.length).toBe(2_000);
    expect(fieldsOf(`{"${"k".repeat(60_000)}":1}`)).toEqual(new Map([["$.{}", ["1"]]]));
  });
});

describe("comparisons", () => {
  const none = new Set<string>();

  it("are counted by route: on the canary alone, on stable alone, on both", () => {
    const sum = new Comparisons();
    sum.count({ route: "GET /a", canary: new Set(["$.x", "$.at"]), stable: new Set(["$.at"]) });
    sum.count({ route: "GET /a", canary: none, stable: new Set(["$.at"]) });
    const part = new Comparisons();
    part.add(sum.read());
    part.count({ route: "GET /b", canary: none, stable: none });
    expect(part.read()).toEqual({
      routes: [
        { route: "GET /a", answers: 2 },
        { route: "GET /b", answers: 1 },
      ],
      fields: [
        { route: "GET /a", field: "$.x", canary: 1, stable: 0, both: 0 },
        { route: "GET /a", field: "$.at", canary: 0, stable: 1, both: 1 },
      ],
    });
  });

  it("stay bounded under made-up routes and fields, and a field of the canary's takes the place of noise", () => {
    const sum = new Comparisons();
    for (let n = 0; n < 5_000; n += 1)
      sum.count({ route: `GET /${n}`, canary: none, stable: new Set([`$.noise${n}`]) });
    sum.count({ route: "GET /0", canary: new Set(["$.fault"]), stable: none });
    const { routes, fields } = sum.read();
    expect([routes.length, fields.length]).toEqual([65, 400]);
    expect(routes.find(({ route }) => route === "other routes")?.answers).toBe(4_936);
    expect(fields.at(-1)).toMatchObject({ field: "$.fault", canary: 1 });
  });
});
