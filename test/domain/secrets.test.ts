import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type SecretHolder, staleSecrets } from "../../src/domain/secrets.ts";

const secret = (name: string, version: number) => ({ name, version, updatedAt: version * 1_000 });
const holder = (
  id: string,
  versions: Record<string, number> | null,
  kind: SecretHolder["kind"] = "instance",
): SecretHolder => ({ kind, id, versions });

describe("a secret is stale", () => {
  test("for everybody who runs another version than the one that is set, told apart by what they are", () => {
    const holders = [
      holder("ins_1", { A: 1, B: 4 }),
      holder("ins_2", { A: 2, B: 4 }),
      holder("ins_3", { A: 1 }, "kept"),
      holder("db", { A: 1 }, "accessory"),
      holder("ins_4", null),
    ];
    expect(staleSecrets([secret("A", 2), secret("B", 4)], holders)).toEqual([
      { name: "A", setAt: 2_000, instances: ["ins_1"], kept: ["ins_3"], accessories: ["db"] },
    ]);
  });

  test("when it was removed and somebody still runs it", () => {
    const [stale] = staleSecrets([], [holder("ins_1", { A: 1 })]);
    expect(stale).toMatchObject({ name: "A", setAt: null, instances: ["ins_1"] });
  });

  test("for nobody who was started after it was set last, whatever the history", () => {
    const versions = fc.dictionary(
      fc.constantFrom("A", "B", "__proto__", "constructor"),
      fc.integer({ min: 1, max: 3 }),
    );
    fc.assert(
      fc.property(versions, fc.array(versions), (current, started) => {
        const set = Object.entries(current).map(([name, version]) => secret(name, version));
        const fresh = started.map((_, i) => holder(`new_${i}`, current));
        const old = started.map((some, i) => holder(`old_${i}`, some));
        const ids = staleSecrets(set, [...fresh, ...old]).flatMap(({ instances }) => instances);
        expect(ids.filter((id) => id.startsWith("new_"))).toEqual([]);
        const outdated = started.flatMap((some, i) =>
          Object.entries(some).some(
            ([name, version]) => !Object.hasOwn(current, name) || current[name] !== version,
          )
            ? [`old_${i}`]
            : [],
        );
        expect([...new Set(ids)].sort()).toEqual([...new Set(outdated)].sort());
      }),
    );
  });
});
