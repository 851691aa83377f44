import { beforeEach, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import type { EnvironmentView } from "../../../src/protocol/api/environments.ts";
import { Api } from "../support/api.ts";
import * as world from "../support/world.ts";

const ENV = "/api/v1/apps/shop/envs/production";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

/** One of two that serve is as `row` says; its agent called it ready. */
async function serving(row: object): Promise<EnvironmentView> {
  const host = await world.enrolled(api);
  expect((await api.apply("shop", world.manifest("shop"))).status).toBe(200);
  const [environment] = await world.db.select().from(environments);
  const environmentId = environment?.id ?? expect.fail("no environment");
  const releaseId = await world.release(environmentId, { weightBp: 10_000 });
  await world.instance({ environmentId, releaseId, host, slot: 0 }, row);
  await world.instance({ environmentId, releaseId, host, slot: 1 });
  await api.post("/agent/v1/poll", world.pollBody({ clock: api.time }), { token: host.token });
  return (await api.get(ENV)).json<EnvironmentView>();
}
const asShown = ({ split, instances }: EnvironmentView) => ({
  ready: split.map(({ ready }) => ready),
  causes: instances.map(({ ready, cause }) => [ready, cause]),
});

it("an instance that is silent on its path is not called ready, and says why", async () => {
  const silent = {
    unreachableSince: api.time - 20_000,
    verifyCause: "timed out",
    verifiedAt: api.time - 60_000,
  };
  expect(asShown(await serving(silent))).toEqual({
    ready: [1],
    causes: [
      [false, "timed out"],
      [true, null],
    ],
  });
});

it("one that missed an answer is", async () => {
  const missed = {
    unreachableSince: api.time - 5_000,
    verifyCause: "timed out",
    verifiedAt: api.time - 60_000,
  };
  expect((await serving(missed)).split.map(({ ready }) => ready)).toEqual([2]);
});

it("none is whose host is not heard from", async () => {
  await serving({});
  api.time += 100_000;
  const shown = asShown(await (await api.get(ENV)).json<EnvironmentView>());
  expect(shown.ready).toEqual([0]);
  expect(shown.causes[0]).toEqual([false, "its host is not heard from"]);
});
