import { eq } from "drizzle-orm";
import { beforeEach, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const RELEASES = "/api/v1/apps/shop/envs/production/releases";
const IMAGE = `ghcr.io/acme/shop@sha256:${"b".repeat(64)}`;
const STAGING = "  staging:\n    hostnames: [staging.example.com]\n";
let api: Api;
let staged: string;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  await api.apply("shop", world.manifest("shop", STAGING));
  const rows = await world.db.select().from(environments).all();
  const staging = rows.find(({ name }) => name === "staging")?.id ?? "";
  const host = await world.enrolled(api);
  const git = { sha: "abc123" };
  staged = await world.release(staging, {
    version: "v7",
    weightBp: 10_000,
    pinnedImage: IMAGE,
    servingAt: 1,
    git,
  });
  await world.db.update(environments).set({ stableReleaseId: staged }).where(eq(environments.id, staging));
  await world.instance({ environmentId: staging, releaseId: staged, host, slot: 0 });
  api.coordinators.release = (_, environment) =>
    world.release(environment, { state: "queued", version: "v1" });
});

it("promotes the very digest and commit that serve elsewhere, and the audit knows from where", async () => {
  const response = await api.post(RELEASES, { from: { environment: "staging", release: staged } });
  expect(response.status).toBe(202);
  expect(api.coordinators.of("createRelease")[0]?.input).toMatchObject({
    image: IMAGE,
    git: { sha: "abc123" },
    origin: { environment: "staging", release: staged, version: "v7" },
  });
});

it("refuses another release than was looked at, and an image beside it", async () => {
  const other = await api.post(RELEASES, { from: { environment: "staging", release: "v6" } });
  expect(await problemOf(other)).toBe("412 precondition_failed");
  const both = await api.post(RELEASES, { image: ":v2", from: { environment: "staging", release: staged } });
  expect(await problemOf(both)).toBe("400 invalid_request");
  expect(api.coordinators.of("createRelease")).toEqual([]);
});

it("is for nobody who may not look at the environment that it comes from", async () => {
  const token = await api.token("deployer", { app: "shop", environment: "production" });
  const response = await api.post(RELEASES, { from: { environment: "staging", release: staged } }, { token });
  expect(await problemOf(response)).toBe("403 forbidden");
});
