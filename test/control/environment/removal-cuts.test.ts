import { runDurableObjectAlarm } from "cloudflare:test";
import { asc, eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settleAccessories } from "../../../src/control/store/accessories.ts";
import { runBatch } from "../../../src/control/store/db.ts";
import { endOnHost, removeHost } from "../../../src/control/store/hosts.ts";
import { accessories } from "../../../src/control/store/schema/accessories.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { hostnames } from "../../../src/control/store/schema/hostnames.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import type { WorkerSpec } from "../../../src/domain/processes/process.ts";
import type { AccessorySpec } from "../../../src/domain/spec.ts";
import { aCanary, weightStep } from "../../domain/rollout/spec.ts";
import { type Cut, Cuts } from "../support/cuts.ts";
import { ENVIRONMENT, HOSTNAME, Stage } from "../support/stage.ts";

/** Whatever is taken away, and wherever control ends on the way: the same is left as without, and nothing is done twice. */
const mailer: WorkerSpec = {
  ...{ kind: "worker", command: ["mail"], env: {}, replicas: 1, stopGraceMs: 1_000, at: "live" },
  handover: "stop-first",
  health: { intervalMs: 1_000, timeoutMs: 1_000, failures: 3, deadlineMs: 60_000 },
};
const SPEC = { drainMs: 1_000, keepMs: 0, processes: { mailer } };
const CANARY = aCanary({
  steps: [weightStep(1_000, 600_000), weightStep(10_000)],
  analysis: { enabled: false },
});

let stage: Stage;
beforeEach(() => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

interface Removal {
  /** Said by a person, once or again by one who got no answer. */
  readonly order: () => Promise<unknown>;
  readonly isOver: () => Promise<boolean>;
  readonly canary?: true;
}

const environment = async () => (await stage.db.select().from(environments))[0];
const anna = async () => (await stage.db.select().from(hosts).where(eq(hosts.id, "host_anna")))[0];
const running = async () => (await stage.instances()).filter(({ stoppedAt }) => stoppedAt === null);
const isElsewhere = async () => {
  const up = await running();
  const settled = up.every(({ state, slotId }) => state === (slotId === null ? "ready" : "serving"));
  return settled && up.length === 3 && up.every(({ hostId }) => hostId === "host_bert");
};

const REMOVALS: Record<string, Removal> = {
  "an environment in the middle of a canary, with a worker and an accessory": {
    canary: true,
    order: () => stage.coordinator.destroy({ actor: "token:ann" }),
    isOver: async () => (await environment())?.deletedAt != null,
  },
  "a host": {
    order: async () => {
      const host = await anna();
      if (!host || host.removedAt !== null) return;
      const now = stage.at ?? 0;
      await runBatch(stage.db, [removeHost(stage.db, host, now), ...endOnHost(stage.db, host, now)]);
    },
    isOver: isElsewhere,
  },
  "what runs on a host that is to be emptied": {
    order: () =>
      stage.db
        .update(hosts)
        .set({ draining: { at: 1, by: "ann" } })
        .where(eq(hosts.name, "anna")),
    isOver: isElsewhere,
  },
};

async function play({ order, isOver, canary }: Removal, cut?: Cut): Promise<{ cuts: Cuts | undefined }> {
  stage = await Stage.open({ ...SPEC, ...(canary && { strategy: CANARY }) });
  stage.at = Date.now();
  await stage.db.insert(hostnames).values({ hostname: HOSTNAME, environmentId: ENVIRONMENT });
  await stage.deploy();
  await later(10);
  if (canary) {
    await stage.db.insert(accessories).values(cache());
    await stage.create();
    await stage.until("v2", "shifting");
  }
  const cuts = cut && new Cuts(stage, cut);
  const through = (work: () => Promise<unknown>) => (cuts ? cuts.through(work) : work().then(() => true));
  const serving = (await running()).filter(({ state }) => state === "serving").length;
  // Whoever gets no answer says it again.
  while (!(await through(order)));
  for (let turn = 0; turn < 80; turn++) {
    const isWhole = await through(async () => {
      if (!(await runDurableObjectAlarm(stage.coordinator))) await stage.coordinator.poke();
    });
    if (isWhole) await expectReachable(canary ? 0 : turn === 0 ? 1 : serving - 1);
    if (isWhole && (await isOver())) return { cuts };
    if (!isWhole) continue;
    await later(1);
  }
  throw new Error(`it never came to an end: ${JSON.stringify(await outcome())}`);
}

/** Agents have done what they were asked for, and the hosts were heard from. */
async function later(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    stage.at = (stage.at ?? 0) + 1_000;
    await stage.work();
    await runBatch(stage.db, settleAccessories(stage.db, stage.at));
    await stage.inside(() => {});
    if (turns > 1) await stage.coordinator.poke();
  }
}

/** Nobody is led to what does not run any more. */
async function expectReachable(atLeast: number): Promise<void> {
  const answer = await stage.coordinator.table(HOSTNAME, null);
  if (answer.kind !== "table") return expect(atLeast).toBe(0);
  const up = new Set((await running()).filter(({ state }) => state !== "stopping").map(({ id }) => id));
  const led = answer.table.releases.flatMap(({ instances }) => instances.map(({ id }) => id));
  expect(led.filter((id) => !up.has(id))).toEqual([]);
  expect(led.length).toBeGreaterThanOrEqual(atLeast);
}

async function outcome() {
  const releases = await stage.releases();
  const named = (text: string) =>
    releases.reduce((all, { id, version }) => all.replaceAll(id, version), text);
  const told = await stage.db.select().from(events).orderBy(asc(events.id));
  return {
    releases: releases.map(({ version, state, weightBp }) => `${version} ${state} ${weightBp}`),
    instances: (await stage.instances()).map(({ id, state }) => `${named(id)} ${state}`).sort(),
    jobs: (await stage.jobs())
      .map(({ id, kind, state }) => `${kind} ${kind === "accessory" ? "" : named(id)} ${state}`)
      .sort(),
    accessories: (await stage.db.select().from(accessories)).length,
    events: told.map(({ type, message }) => `${type}: ${named(message)}`).sort(),
  };
}

function cache(): typeof accessories.$inferInsert {
  const spec: AccessorySpec = {
    ...{ image: "redis:8", env: {}, secrets: [], volumes: [], resources: {}, stopGraceMs: 1_000 },
    container: { readOnly: false, tmpfs: [], ulimits: {} },
    logging: { maxSizeBytes: 10_000_000, maxFiles: 3 },
  };
  const at = { stateSince: 1, createdAt: 1 };
  return { environmentId: ENVIRONMENT, name: "cache", hostId: "host_anna", spec, state: "running", ...at };
}

describe.each(Object.entries(REMOVALS))("%s", (_, removal) => {
  let undisturbed: Awaited<ReturnType<typeof outcome>>;

  it("is taken away", async () => {
    await play(removal);
    undisturbed = await outcome();
    expect(undisturbed.accessories).toBe(0);
  });

  it.each(["before", "after"] as const)(
    "leaves the same where control ends %s each of its calls",
    async (cut) => {
      const { cuts } = await play(removal, cut);
      expect(cuts?.ends.length).toBeGreaterThan(3);
      expect(await outcome()).toEqual(undisturbed);
    },
  );
});
