import { describe, expect, it } from "vitest";
import { askedUntil, lastRest } from "../../../src/domain/rollout/table/rest.ts";

const MINUTE = 60_000;

/** A table at rest by which everybody goes to `serving`, while `warm` waits. */
const table = (publishedAt: number, serving: readonly string[], warm: readonly string[] = []) => ({
  publishedAt,
  staleMs: MINUTE,
  releases: [
    { id: "rel-2", version: "v2", weightBp: 10_000, instances: serving.map(entry) },
    { id: "rel-1", version: "v1", weightBp: 0, instances: warm.map(entry) },
  ],
});
const entry = (id: string) => ({ id, origin: `https://${id}.example.com`, ready: true });

describe("what an edge that was quiet may still hold", () => {
  it("is waited for once a table lets go of what the last one led to", () => {
    const rest = lastRest(table(1_000, ["a", "b"]), table(9_000, ["b"]), null, { now: 9_000 });
    expect(rest).toMatchObject({ beganAt: 1_000, endedAt: 9_000, outAt: 9_000 + MINUTE + 3_000 });
  });

  it("is not waited for anew because something warm comes and goes", () => {
    const first = lastRest(table(0, ["old"]), table(1_000, ["a"], ["old"]), null, { now: 1_000 });
    let rest = first;
    for (let now = 30_000; now < 3_600_000; now += 30_000)
      rest = lastRest(table(now - 30_000, ["a"], ["old"]), table(now, ["a"]), rest, { now });
    expect(rest?.outAt).toBe(first?.outAt);
  });

  it("is waited for also where the table before the last serves longer than the last one", () => {
    const long = table(0, ["a"]);
    const short = { ...table(1_000, ["a", "b"]), staleMs: 5_000 };
    const kept = lastRest(long, short, null, { now: 1_000 });
    const rest = lastRest(short, table(2_000, ["b"]), kept, { now: 2_000 });
    expect(rest?.outAt).toBe(1_000 + MINUTE + 3_000);
  });

  it("is waited for until who was sent by the last of it has been answered", () => {
    const first = lastRest(table(0, ["a"]), table(1_000, ["b"]), null, { now: 1_000 });
    const out = first?.outAt ?? 0;
    const moment = { now: out + 10_000, drainMs: 20_000 };
    // Another rest ends while the first one's last visitors are under way.
    const rest = lastRest(table(out - 5_000, ["b"]), table(out + 10_000, ["c"]), first, moment);
    expect(rest?.beganAt).toBe(0);
  });

  it("is waited for also where something moved before it was let go", () => {
    const T0 = 600_000;
    const moving = (publishedAt: number, serving: readonly string[]) => ({
      ...table(publishedAt, serving),
      staleMs: 2_000,
    });
    const held = table(0, ["a1", "a2"]);
    const same = moving(T0, ["a1", "a2"]);
    const before = lastRest(held, same, null, { now: T0 });
    const rest = lastRest(same, moving(T0 + 5_000, ["a2", "a3"]), before, { now: T0 + 5_000 });
    const [facts, release, instance] = [
      { lastRest: rest },
      { servingAt: 1_000, spec: { drainMs: 30_000 } },
      { drainUntil: T0 + 38_000 },
    ] as unknown as Parameters<typeof askedUntil>;
    expect(askedUntil(facts, release, instance)).toBe(T0 + MINUTE + 3_000 + 30_000);
  });

  it("is nothing while something moves: those tables are asked for anew", () => {
    expect(
      lastRest({ ...table(0, ["a"]), staleMs: 2_000 }, table(9_000, []), null, { now: 9_000 }),
    ).toBeNull();
  });
});
