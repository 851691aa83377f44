import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Images, spareImages } from "../../../agent/host/images.ts";
import { type Journal, openJournal } from "../../../agent/journal.ts";
import { done } from "../../../agent/outcome.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import type { Runtime } from "../../../agent/runtime/runtime.ts";
import { removeImages, variantImage } from "../../../local/images.ts";
import { engine, hasRegistry, type Registry, startRegistry, theEngine } from "../../support/engine/docker.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const log = { info() {}, warn() {}, error() {} };
const never = new AbortController().signal;

describe("images that can be spared", () => {
  const now = 1_000 * DAY;
  /** Used so many days ago, by environment. */
  const used = (days: Record<string, number>) => ({
    tags: [],
    usedAt: Object.fromEntries(
      Object.entries(days).map(([environment, ago]) => [environment, now - ago * DAY]),
    ),
  });
  const seven = Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((n) => [`shop-${n}`, used({ prod: n * 10 })]));

  test("are all but the five that an environment used last", () => {
    expect(spareImages(seven, { now, isShort: false })).toEqual(["shop-6", "shop-7"]);
  });

  test("are all but two when the disk is short", () => {
    expect(spareImages(seven, { now, isShort: true })).toEqual([
      "shop-3",
      "shop-4",
      "shop-5",
      "shop-6",
      "shop-7",
    ]);
  });

  test("are none that another environment still keeps", () => {
    const images = { ...seven, "shop-7": used({ prod: 70, staging: 70 }) };
    expect(spareImages(images, { now, isShort: false })).toEqual(["shop-6"]);
  });

  test("are none that were used within a day, unless the disk is short", () => {
    const busy = Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`i-${n}`, used({ prod: n / 10 })]));
    expect(spareImages(busy, { now, isShort: false })).toEqual([]);
    expect(spareImages(busy, { now, isShort: true })).toHaveLength(7);
  });
});

describe.skipIf(!engine || !hasRegistry)("on a real engine", () => {
  const runtime = createDockerRuntime({ host: `images-${process.pid}` });
  let registry: Registry;
  let directory: string;
  let journal: Journal;
  let now = Date.now();
  let images: Images;
  const digests: string[] = [];
  const made: string[] = [];

  beforeAll(async () => {
    registry = await startRegistry();
    directory = await mkdtemp(path.join(tmpdir(), "sluice-images-"));
    journal = await openJournal(directory, () => {});
    images = new Images({
      runtime: withSpace(),
      journal,
      clock: { now: () => now, monotonic: () => now, sleep: async () => {} },
      log,
    });
    for (let n = 1; n <= 8; n += 1) {
      const tag = `sluice-test:prune-${process.pid}-${n}`;
      made.push(tag);
      await variantImage(theEngine(), {
        from: "scratch",
        tag,
        env: { N: String(n) },
        lines: ["COPY Dockerfile /"],
      });
      digests.push(await registry.push(tag, `app:v${n}`));
    }
    await removeImages(theEngine(), [
      ...made,
      ...digests.map((_, n) => named(n + 1)),
      ...digests.map(pinned),
    ]);
  });
  afterAll(async () => {
    await removeImages(theEngine(), [`sluice-test:kept-${process.pid}`, ...digests.map(pinned)]);
    await removeImages(theEngine(), [...digests.map((_, n) => named(n + 1))]);
    await registry.close();
    await journal.close();
    await rm(directory, { recursive: true, force: true });
  });

  /** The engine's own disk may really be short where this runs. */
  function withSpace(): Runtime {
    const { images: store } = runtime;
    if (!store) throw new Error("the docker runtime keeps images");
    const space = async () => ({ path: "/", freeBytes: 50e9, totalBytes: 100e9 });
    return { ...runtime, images: { ...store, space } };
  }
  const named = (n: number) => `${registry.address}/app:v${n}`;
  const pinned = (digest: string | undefined) => `${registry.address}/app@${digest}`;

  async function pull(n: number) {
    now += HOUR;
    const pulled = await runtime.pull({ image: named(n) }, () => {}, never);
    if (!pulled.ok) throw new Error(pulled.error.message);
    await images.pulled("env-1", named(n), pulled.value);
  }
  async function isHere(n: number): Promise<boolean> {
    try {
      await theEngine().bytes("GET", `/images/${encodeURIComponent(pinned(digests[n - 1]))}/json`);
      return true;
    } catch {
      return false; // 404
    }
  }

  test("removes what it pulled itself, no container has, and no rollback needs", async () => {
    // A person pulled the first.
    await runtime.pull({ image: named(1) }, () => {}, never);
    for (let n = 1; n <= 8; n += 1) await pull(n);
    // A container that ended has the second; a person gave the third a name.
    const query = { name: `prune-${process.pid}` };
    await theEngine().bytes("POST", "/containers/create", {
      query,
      json: { Image: pinned(digests[1]), Cmd: ["/nothing"] },
    });
    await theEngine().bytes("POST", `/images/${encodeURIComponent(pinned(digests[2]))}/tag`, {
      query: { repo: "sluice-test", tag: `kept-${process.pid}` },
    });
    expect(await images.prune()).toBe(0);
    now += 2 * DAY;
    await images.prune();
    const left = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(isHere));
    expect(left).toEqual([true, true, false, true, true, true, true, true]);
    await theEngine().bytes("GET", `/images/sluice-test:kept-${process.pid}/json`);
    await theEngine().bytes("DELETE", `/containers/${query.name}`);
    expect(await images.prune()).toBe(1);
    expect(await isHere(2)).toBe(false);
    expect(Object.keys(journal.state.images)).toHaveLength(5);
  });

  test("lets go of a tag only while it still means the image", async () => {
    const moved = `${registry.address}/app:v4`;
    await theEngine().bytes("POST", `/images/${encodeURIComponent(pinned(digests[7]))}/tag`, {
      query: { repo: `${registry.address}/app`, tag: "v4" },
    });
    for (const n of [5, 6, 7, 8]) await images.used("env-1", pinned(digests[n - 1]));
    now += DAY;
    await images.pulled("env-1", "other:v9", {
      image: "other@sha256:9",
      digest: "sha256:9",
      downloaded: true,
    });
    now += 2 * DAY;
    await images.prune();
    expect(await isHere(4)).toBe(false);
    await theEngine().bytes("GET", `/images/${encodeURIComponent(moved)}/json`);
  });
});

describe("a pull that finds the disk full", () => {
  let bench: AgentBench;
  afterAll(() => bench.close());

  test("makes room by what can be spared and tries once more", async () => {
    const removed: string[] = [];
    let pulls = 0;
    const unused = async () => ({ ok: true as const, value: undefined as never });
    const runtime = {
      name: "docker",
      list: async () => done([]),
      injected: async () => done([]),
      pull: async ({ image }: { image: string }) => {
        pulls += 1;
        const isFull = image === "shop@4" && removed.length === 0;
        if (isFull) return { ok: false, error: { code: "disk_full", message: "full", logs: [] } } as const;
        return done({ image, digest: "sha256:1", downloaded: true });
      },
      images: {
        remove: async (image: string) => {
          removed.push(image);
          return done("removed" as const);
        },
        space: async () => ({ path: "/", freeBytes: 1e9, totalBytes: 100e9 }),
      },
      stop: unused,
    } as unknown as Runtime;
    bench = await agentBench({ runtime });
    for (const n of [1, 2, 3, 4]) {
      bench.control.give({ id: `job-${n}`, kind: "pull", image: `shop@${n}` });
      expect(await bench.control.result(`job-${n}`)).toMatchObject({ ok: true });
    }
    expect(removed).toEqual(["shop@1"]);
    expect(pulls).toBe(5);
  });
});
