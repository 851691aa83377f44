import { expect, it } from "vitest";
import type { DoraView } from "../../../src/protocol/api/figures/dora.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const HOUR = 3_600_000;

it("answers the four keys of the releases of the last days, to whom they may be shown", async () => {
  await world.emptyWorld();
  const api = new Api();
  const environmentId = await world.applied(api);
  await world.applied(api, "other");
  const at = (hoursAgo: number) => api.time - hoursAgo * HOUR;
  const git = { sha: "abc", committedAt: new Date(at(50)).toISOString() };
  const live = { createdAt: at(48), servingAt: at(47), git, timings: { shifting: HOUR } };
  await world.release(environmentId, { version: "v1", ...live });
  await world.release(environmentId, { version: "v0", createdAt: at(24 * 40), servingAt: at(24 * 40) });
  const read = async (path: string, token?: string) =>
    (await api.get(`/api/v1/dora${path}`, token === undefined ? {} : { token })).json<DoraView>();
  const shop = {
    app: "shop",
    deployments: 1,
    leadTime: { medianMs: 3 * HOUR, of: 1 },
    changeFailureRate: 0,
    timeToRestore: null,
  };
  const other = { app: "other", deployments: 0, leadTime: null, changeFailureRate: null };
  expect(await read("")).toMatchObject({ days: 30, items: [other, shop] });
  expect((await read("?app=shop&days=60")).items).toMatchObject([{ deployments: 2, perDay: 2 / 60 }]);
  const viewer = await api.token("viewer", { app: "other" });
  expect((await read("", viewer)).items).toMatchObject([other]);
  expect(await problemOf(await api.get("/api/v1/dora?app=shop", { token: viewer }))).toBe("403 forbidden");
});
