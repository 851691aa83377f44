import { expect, it } from "vitest";
import type { VisitsView } from "../../../src/protocol/api/figures/visits.ts";
import { Api, problemOf } from "../support/api.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import * as world from "../support/world.ts";

const WINDOW = 10_000;

it("says of each release and instance what visitors sent it within the last minute", async () => {
  await world.emptyWorld();
  const api = new Api();
  const environmentId = await world.applied(api);
  const host = await world.enrolled(api);
  const stable = await world.release(environmentId, { version: "v1", state: "live", weightBp: 7_500 });
  const canary = await world.release(environmentId, { version: "v2", state: "shifting", weightBp: 2_500 });
  await world.instance({ environmentId, releaseId: stable, host, slot: 0 }, { id: "ins_1" });
  await world.instance({ environmentId, releaseId: canary, host, slot: 1 }, { id: "ins_2" });
  // The meter's objects go by the wall's time.
  api.time = Date.now();
  const open = api.time - (api.time % WINDOW);
  const window = (ago: number) => open - ago * WINDOW;
  // Two data centres, perhaps of two parts of the meter; what is older, and what is still being counted, is left out.
  for (const colo of ["AMS", "SIN"]) {
    const meter = meterOf(environmentId, colo);
    const counted = (release: string, instance: string, ago: number, requests: number, errors = 0) =>
      counts(release, window(ago), requests, errors, { instance, latency: [[56, requests - errors]] });
    await meter.absorb({
      ...batchOf([
        counted(stable, "ins_1", 1, 150),
        counted(stable, "ins_1", 6, 150),
        counted(stable, "ins_1", 7, 9_000),
        counted(canary, "ins_2", 2, 100, 40),
        counted(canary, "ins_2", 0, 9_000),
        counts(canary, window(3), 20, 20, { instance: "ins_2", pathErrors: 20, latency: [] }),
      ]),
      environment: environmentId,
      colo,
    });
  }
  const answer = await api.get("/api/v1/apps/shop/envs/production/visits");
  const view = await answer.json<VisitsView>();
  expect(Date.parse(view.to) - Date.parse(view.from)).toBe(60_000);
  const good = { requests: 600, perSecond: 10, errors: 0, errorRate: 0, p50Ms: 134, p95Ms: 134 };
  const bad = { requests: 240, perSecond: 4, errors: 80, errorRate: 1 / 3 };
  const byVersion = view.releases.toSorted((a, b) => b.version.localeCompare(a.version));
  expect(byVersion).toMatchObject([
    { version: "v2", weight: 25, ...bad },
    { version: "v1", weight: 75, ...good },
  ]);
  const bySlot = view.instances.toSorted((a, b) => a.slot - b.slot);
  expect(bySlot).toMatchObject([
    { instance: "ins_1", host: "web-1", slot: 0, ...good },
    { instance: "ins_2", version: "v2", slot: 1, ...bad },
  ]);
  const stranger = await api.token("viewer", { app: "other" });
  const refused = await api.get("/api/v1/apps/shop/envs/production/visits", { token: stranger });
  expect(await problemOf(refused)).toBe("403 forbidden");
});
