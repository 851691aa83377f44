import { afterEach, describe, expect, it, vi } from "vitest";
import { AT_ONCE } from "../../../src/control/at-most.ts";
import { Asking } from "../../../src/control/environment/asking.ts";
import { Draft } from "../../../src/domain/rollout/draft.ts";
import type { EnvironmentFacts, InstanceFacts } from "../../../src/domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../../src/domain/rollout/release.ts";
import { aSpec } from "../../domain/rollout/spec.ts";
import { waitFor } from "../../support/patience.ts";

afterEach(() => void vi.unstubAllGlobals());

const spec = aSpec({});
const release = { id: "rel_1", spec, smoke: null } as unknown as ReleaseFacts;
const instance = (n: number) =>
  ({
    id: `i${n}`,
    releaseId: "rel_1",
    hostName: `h${n}`,
    origin: `http://h${n}.test`,
    state: "ready",
    verifiedAt: null,
    verifyCause: null,
    unreachableSince: null,
  }) as unknown as InstanceFacts;
const factsOf = (count: number) =>
  ({
    releases: [release],
    instances: Array.from({ length: count }, (_, n) => instance(n)),
    jobs: [],
  }) as unknown as EnvironmentFacts;

/** An environment of so many instances, and every decision that its answers led to. */
function asking(count: number) {
  const facts = factsOf(count);
  const written: string[][] = [];
  const background: Promise<void>[] = [];
  const made = new Asking({
    path: {},
    now: () => 1_000,
    write: async (change) => {
      const draft = new Draft(facts, 1_000);
      change(draft);
      written.push([...draft.decision.instances.keys()]);
    },
    background: (work) => void background.push(work),
    again: async () => {},
  });
  return { made, facts, written, settled: () => Promise.all(background) };
}

/** Origins that answer when told to. */
function slowOrigins() {
  const open: { url: string; answer: (response: Response) => void; signal: AbortSignal }[] = [];
  vi.stubGlobal("fetch", (input: string, init: RequestInit) => {
    const { promise, resolve } = Promise.withResolvers<Response>();
    open.push({ url: input, answer: resolve, signal: init.signal as AbortSignal });
    return promise;
  });
  return open;
}

describe("a round of questions", () => {
  it("makes one decision of all its answers, however many instances there are", async () => {
    vi.stubGlobal("fetch", async () => new Response("ok"));
    const { made, facts, written, settled } = asking(40);
    made.probe(facts, facts.instances);
    await settled();
    expect(written.map((ids) => ids.length)).toEqual([40]);
  });

  it("has six on the way at once, each with its own time from when it is asked", async () => {
    const open = slowOrigins();
    const { made, facts, settled } = asking(13);
    made.probe(facts, facts.instances);
    await waitFor(() => expect(open).toHaveLength(6));
    for (const one of open.slice(0, 6)) one.answer(new Response("ok"));
    await waitFor(() => expect(open).toHaveLength(12));
    expect(new Set(open.map(({ signal }) => signal)).size).toBe(12);
    for (const one of open) one.answer(new Response("ok"));
    await waitFor(() => expect(open).toHaveLength(13));
    open.at(-1)?.answer(new Response("ok"));
    await settled();
  });

  it("keeps the answers of no one waiting for one that does not come", async () => {
    const open = slowOrigins();
    const { made, facts, written, settled } = asking(3);
    made.probe(facts, facts.instances);
    await waitFor(() => expect(open).toHaveLength(3));
    open[0]?.answer(new Response("ok"));
    open[1]?.answer(new Response("ok"));
    await waitFor(() => expect(written).toEqual([["i0", "i1"]]));
    open[2]?.answer(new Response("no", { status: 500 }));
    await settled();
    expect(written).toEqual([["i0", "i1"], ["i2"]]);
  });

  it("asks nobody twice at once, and writes nothing that was known", async () => {
    const open = slowOrigins();
    const { made, facts, written, settled } = asking(2);
    const known = facts.instances.map((one) => ({ ...one, verifiedAt: 1 }));
    made.probe({ ...facts, instances: known }, known);
    made.probe({ ...facts, instances: known }, known);
    await waitFor(() => expect(open).toHaveLength(2));
    for (const one of open) one.answer(new Response("ok"));
    await settled();
    expect(open).toHaveLength(2);
    expect(written).toEqual([]);
  });

  it("ends smoke checks with the first that fails", async () => {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (input: string) => {
      asked.push(input);
      return new Response("no", { status: 500 });
    });
    const { made, facts, written, settled } = asking(30);
    const checked = { ...release, spec: { ...spec, smoke: [{ path: "/", status: 200 }] } };
    const verified = facts.instances.map((one) => ({ ...one, verifiedAt: 1 }));
    made.smoke({ ...facts, instances: verified }, { release: checked, when: "before" });
    await settled();
    expect(asked).toHaveLength(AT_ONCE - 2);
    expect(written).toHaveLength(1);
  });
});
