import { describe, expect, it } from "vitest";
import { BoundedMap } from "../../src/control/bounded-map.ts";

describe("a bounded map", () => {
  it("forgets the entry that was not set for longest", () => {
    const map = new BoundedMap<string, string>(2);
    for (const key of ["a", "b", "a", "c"]) map.set(key, "1");
    expect([...map.keys()]).toEqual(["a", "c"]);
  });

  it("takes no more than it may hold to begin with", () => {
    const map = new BoundedMap(2, [
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ] as const);
    expect([...map]).toEqual([
      ["b", 2],
      ["c", 3],
    ]);
  });
});
