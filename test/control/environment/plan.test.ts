import { runInDurableObject } from "cloudflare:test";
import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { leastMs } from "../../../src/control/views/step-views.ts";
import { stepLabel } from "../../../src/domain/rollout/steps.ts";
import { spell } from "../../../src/domain/times.ts";
import type { EnrollAnswer } from "../../../src/protocol/agent/enroll.ts";
import { movePlanSchema, type PlanView, planSchema } from "../../../src/protocol/api/plans.ts";
import type { CreateRelease } from "../../../src/protocol/api/releases.ts";
import { Api } from "../support/api.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import * as world from "../support/world.ts";

const PATH = "/api/v1/apps/shop/envs/production/releases?dryRun=1";
let api: Api;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

/** The app with these lines under its environment, and these at the top. */
async function applied(env = "", top = ""): Promise<string> {
  const response = await api.apply("shop", `${world.manifest("shop", env)}${top}`);
  if (!response.ok) throw new Error(await response.text());
  const row = await world.db.select().from(environments).get();
  return row?.id ?? expect.fail("no environment");
}

async function online(name = "web-1", slots = 4): Promise<EnrollAnswer> {
  const host = await world.enrolled(api, name, slots);
  await api.post("/agent/v1/poll", world.pollBody(), { token: host.token });
  return host;
}

/** A release that has all traffic, one instance per slot. */
async function serving(environmentId: string, host: EnrollAnswer, slots: readonly number[]): Promise<string> {
  const releaseId = await world.release(environmentId, { version: "v1", weightBp: 10_000, servingAt: 1 });
  await world.db
    .update(environments)
    .set({ stableReleaseId: releaseId })
    .where(eq(environments.id, environmentId));
  for (const slot of slots) await world.instance({ environmentId, releaseId, host, slot });
  return releaseId;
}

async function planned(body: CreateRelease = {}): Promise<PlanView> {
  const response = await api.post(PATH, body);
  return planSchema.parse(await response.json());
}
const codes = (plan: PlanView) => plan.problems.map(({ code }) => code);

const CANARY = `    strategy:
      canary:
        steps:
          - { weight: 10, bake: 15m }
          - { pause: { for: 5m } }
          - { analysis: {} }
          - { weight: 50, bake: 90s, mirror: { weight: 5, compare: json } }
          - { weight: 100 }
`;

describe("a plan", () => {
  it("tells a canary's steps in words, and the least time they take", async () => {
    const id = await applied(CANARY);
    await serving(id, await online(), [0]);
    const plan = await planned();
    expect(plan.steps.map(({ label }) => label)).toEqual([
      "10 % for 15 m",
      "pause for 5 m",
      "until proven no worse, at most 30 m",
      "50 % for 90 s, 5 % mirrored and compared",
      "100 %",
    ]);
    expect(plan.atLeastMs).toBe(900_000 + 300_000 + 90_000);
    expect(plan.problems).toEqual([]);
    expect(plan.replaces).toMatchObject({ version: "v1" });
  });

  it("has no least time where somebody has to promote: a pause without end, or a hold", async () => {
    const id = await applied("    strategy: { canary: { steps: [{ pause: {} }, { weight: 100 }] } }\n");
    await serving(id, await online(), [0]);
    expect(await planned()).toMatchObject({
      atLeastMs: null,
      steps: [{ kind: "pause", forMs: null, label: "until it is promoted" }, { weight: 100 }],
    });
    await api.apply("shop", world.manifest());
    expect((await planned()).atLeastMs).toBe(0);
    expect((await planned({ hold: true })).atLeastMs).toBeNull();
  });

  it("says how many requests control may make of its own, and of a first release, that there are none", async () => {
    const id = await applied(`${CANARY}    load: { paths: ["/", "/cart"], rate: 30/m, judge: true }\n`);
    const host = await online();
    expect((await planned()).load).toBeNull();
    await serving(id, host, [0]);
    expect((await planned()).load).toMatch(
      /^up to [\d,]+ GETs of \/, \/cart by control, while visitors are fewer than 30 a minute; judged as theirs\. /,
    );
  });

  it("says that load does nothing where no traffic is shared", async () => {
    const id = await applied('    load: { paths: ["/"] }\n');
    await serving(id, await online(), [0]);
    expect((await planned()).load).toMatch(/^none: `load` asks only while a canary with analysis/);
  });

  it("says that a first canary takes all traffic at once, because nothing is there to compare it with", async () => {
    await applied(CANARY);
    await online();
    const { steps, rollback } = await planned();
    expect(steps).toHaveLength(1);
    expect(steps[0]).toMatchObject({ weight: 100, label: expect.stringContaining("no release to compare") });
    expect(rollback).toContain("nothing to go back to");
  });

  it("names each hook with its command and when it runs, and what can't be taken back afterwards", async () => {
    const id = await applied(
      "    keep: 1h\n",
      "hooks: { expand: [npm, run, expand], contract: [npm, run, contract] }\n",
    );
    await serving(id, await online(), [0]);
    const { hooks, rollback } = await planned();
    expect(hooks).toMatchObject([
      { hook: "expand", command: ["npm", "run", "expand"], when: expect.stringContaining("before anything") },
      { hook: "contract", command: ["npm", "run", "contract"], when: expect.stringContaining("1 h after") },
    ]);
    expect(rollback).toBe(
      "instant for 1 h after it has all traffic, while v1 is kept warm; then its contract migration makes going back impossible",
    );
  });

  it("puts no more of a rolling release in place than its surge allows, and asks for no more slots", async () => {
    const id = await applied(
      "    replicas: 3\n    strategy: { rolling: { maxSurge: 1, maxUnavailable: 0 } }\n",
    );
    await serving(id, await online("web-1", 4), [0, 1, 2]);
    const plan = await planned();
    expect(plan).toMatchObject({ instances: [{ host: "web-1", slot: 3 }], steps: [], problems: [] });
    expect(plan.rollback).toContain("a few instances at a time");
  });

  it("stops a rolling release that has no slot for its first instance and may not take one away", async () => {
    const rolling = (unavailable: number) =>
      `    replicas: 2\n    strategy: { rolling: { maxSurge: 1, maxUnavailable: ${unavailable} } }\n`;
    const id = await applied(rolling(0));
    await serving(id, await online("web-1", 2), [0, 1]);
    expect(codes(await planned())).toEqual(["no_slots"]);
    await api.apply("shop", world.manifest("shop", rolling(1)));
    expect(codes(await planned())).toEqual([]);
  });
});

describe("a plan names what would stop it", () => {
  it("no host, and too few slots with what each host has", async () => {
    await applied("    replicas: 3\n");
    expect(codes(await planned())).toEqual(["no_hosts"]);
    await online("web-1", 2);
    const plan = await planned();
    expect(codes(plan)).toEqual(["no_slots"]);
    expect(plan.problems[0]?.detail).toContain("web-1: 2 slots");
  });

  it("a person's lock: who, why and until when; and not one that is over", async () => {
    const id = await applied();
    await online();
    const held = {
      holder: "token:anna",
      reason: "audit week",
      since: api.time,
      expiresAt: api.time + 60_000,
    };
    await world.db.update(environments).set({ held }).where(eq(environments.id, id));
    const [problem] = (await planned()).problems;
    expect(problem).toMatchObject({ code: "locked" });
    expect(problem?.detail).toContain("locked by token:anna until 2026-");
    expect(problem?.detail).toContain("audit week");
    api.time += 60_000;
    expect(codes(await planned())).toEqual([]);
  });

  it("a closed window with its next opening, unless it is overridden", async () => {
    // 2026-09-21, a Monday, 14:13 UTC.
    await applied("    windows: { allow: Tue-Fri 08:00-18:00 UTC }\n");
    await online();
    const [problem] = (await planned()).problems;
    expect(problem).toMatchObject({ code: "window_closed" });
    expect(problem?.detail).toContain("next opening: 2026-09-22 08:00:00 UTC");
    expect(codes(await planned({ override: true }))).toEqual([]);
  });

  it("a release in progress, and that it waits for a person", async () => {
    const id = await applied();
    await online();
    const paused = { at: api.time, by: "sluice", reason: "waits to be promoted", until: null };
    await world.release(id, { version: "v8", state: "shifting", paused });
    const [problem] = (await planned()).problems;
    expect(problem).toMatchObject({ code: "release_in_progress" });
    expect(problem?.detail).toContain("v8 is shifting and paused (waits to be promoted)");
  });

  it("a label that is taken; several things at once, all of them", async () => {
    const id = await applied("    windows: { allow: Tue-Fri 08:00-18:00 UTC }\n");
    await world.release(id, {
      version: "v1",
      state: "rolled_back",
      endedAt: api.time,
      timings: { shifting: 9 },
    });
    await world.release(id, { version: "v2", state: "failed", endedAt: api.time });
    expect(codes(await planned({ version: "v2" }))).toEqual(["window_closed", "no_hosts"]);
    expect(codes(await planned({ version: "v1" }))).toEqual(["window_closed", "conflict", "no_hosts"]);
  });
});

describe("a manifest's windows", () => {
  it("that never open are refused, by their key", async () => {
    const never = "    windows: { allow: Mon-Fri 08:00-18:00, freeze: 2026-09-01..2027-12-31 }\n";
    const response = await api.apply("shop", world.manifest("shop", never));
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({
      code: "manifest_invalid",
      errors: [
        {
          pointer: "environments.production.windows",
          detail: expect.stringContaining("never opens within the next 60 days"),
        },
      ],
    });
  });

  it("that are shut today and open tomorrow are taken", async () => {
    expect(
      (await api.apply("shop", world.manifest("shop", "    windows: { allow: Tue 08:00-18:00 }\n"))).status,
    ).toBe(200);
  });
});

describe("times and steps in words", () => {
  it.each([
    [0, "0 ms"],
    [250, "250 ms"],
    [1_500, "1.5 s"],
    [60_000, "1 m"],
    [90_000, "90 s"],
    [900_000, "15 m"],
    [5_400_000, "1 h 30 m"],
    [86_400_000, "1 d"],
  ])("%i ms is %s", (ms, words) => expect(spell(ms)).toBe(words));

  it("say who is eligible", () => {
    const match = [{ countries: ["DE"] }];
    const step = { kind: "weight", weightBp: 2_500, bakeMs: 0, match, mirrorBp: 0 } as const;
    expect(stepLabel(step)).toBe("25 % of those who match");
    expect(leastMs([])).toBe(0);
  });
});

describe("its price", () => {
  it("is told by the traffic that the release which serves has had, in well under a second", async () => {
    const steps = "[{ weight: 10, bake: 15m }, { pause: {} }, { weight: 50, bake: 15m }, { weight: 100 }]";
    const id = await applied(`    strategy: { canary: { steps: ${steps} } }\n`);
    const host = await online();
    const releaseId = await serving(id, host, [0]);
    const now = api.time;
    await world.db
      .update(releases)
      .set({ servingAt: now - 3_600_000, createdAt: now - 3_600_000 })
      .where(eq(releases.id, releaseId));
    expect((await planned()).price).toBeNull();
    for (let k = 1; k <= 300; k++) {
      const window = now - (now % 10_000) - k * 10_000;
      const batch = { ...batchOf([counts(releaseId, window, 240, 0)]), environment: id };
      await runInDurableObject(meterOf(id, batch.colo), (meter) => {
        meter.clock = () => api.time;
        meter.gatherMs = 0;
        return meter.absorb({ ...batch, judged: false });
      });
    }
    // Counts at rest are stored once a minute.
    api.time += 61_000;
    const { price } = await planned();
    expect(price?.traffic.rate).toBeCloseTo(20, 0);
    expect(price?.faults.map(({ what, failed }) => [what, failed > 0])).toEqual([
      ["fails every request", true],
      ["fails 5 % of its requests", true],
      ["fails 1 % of its requests", true],
      ["takes twice as long", false],
    ]);
    expect(price?.says).toEqual([
      expect.stringMatching(/^step 1, 10 % for 15 m: a good release is proven after/),
      expect.stringMatching(/^step 3, 50 % for 15 m: a good release is proven after/),
    ]);
    const canary = { version: "v2", state: "shifting", weightBp: 1_000, stepIndex: 1, stepSince: 1 } as const;
    const v2 = await world.release(id, { ...canary, startedAt: now });
    await world.instance({ environmentId: id, releaseId: v2, host, slot: 1 });
    const asked = await api.get("/api/v1/apps/shop/envs/production/plan/promote");
    const { refusal, price: next } = movePlanSchema.parse(await asked.json());
    expect(refusal).toBeNull();
    expect(next?.says).toEqual([expect.stringMatching(/^step 3, 50 % for 15 m/)]);
    const page = await api.get("/ui/apps/shop/production/moves/promote", {
      headers: { accept: "text/html" },
    });
    const text = await page.text();
    expect(text).toMatch(/<li>step 3, 50 % for 15 m: a good release is proven after some \d+ [ms]/);
    expect(text).toMatch(/<li>fails every request: gone after some [^,]+, [\d,]+ requests failed<\/li>/);
  });
});
