import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { claimAnswerSchema } from "../../../src/protocol/agent/claim.ts";
import type { EnrollAnswer } from "../../../src/protocol/agent/enroll.ts";
import { Api, problemOf } from "../support/api.ts";
import { K1 } from "../support/vault.ts";
import * as world from "../support/world.ts";

const { db } = world;
let api: Api;
let host: EnrollAnswer;
let id: string;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { SECRETS_KEY: K1 });
  host = await world.enrolled(api);
  const environmentId = await world.applied(api);
  const releaseId = await world.release(environmentId);
  await api.put("/api/v1/apps/shop/envs/production/secrets/DATABASE_URL", { value: "postgres://new" });
  await api.put("/api/v1/apps/shop/registries/ghcr.io", { username: "bot", password: "pull-me" });
  const release = await db.select().from(releases).where(eq(releases.id, releaseId)).get();
  if (!release) throw new Error("no release");
  const spec = { ...release.spec, env: { NODE_ENV: "production" }, secrets: ["DATABASE_URL"] };
  await db.update(releases).set({ spec }).where(eq(releases.id, releaseId));
  id = await world.instance(
    { environmentId, releaseId, host, slot: 0 },
    { secretVersions: { DATABASE_URL: 7 } },
  );
});

const claim = (instance: string, token = host.token) =>
  api.post(`/agent/v1/instances/${instance}/claim`, {}, { token });

describe("an agent that has to make an instance's container again", () => {
  it("gets its variables, its secrets' values and the registry's login, and it is noted which versions", async () => {
    const response = await claim(id);
    expect(response.status).toBe(200);
    expect(claimAnswerSchema.parse(await response.json())).toMatchObject({
      env: { NODE_ENV: "production", DATABASE_URL: "postgres://new" },
      secretNames: ["DATABASE_URL"],
      login: { registry: "ghcr.io", username: "bot", password: "pull-me" },
    });
    const row = await db.select().from(instances).where(eq(instances.id, id)).get();
    expect(row?.secretVersions).toEqual({ DATABASE_URL: 1 });
  });

  it("gets nothing of another host's instance, nor with a person's token", async () => {
    const other = await world.enrolled(api, "web-2");
    expect(await problemOf(await claim(id, other.token))).toBe("404 not_found");
    const path = `/agent/v1/instances/${id}/claim`;
    expect(await problemOf(await api.post(path, {}))).toBe("403 forbidden");
    expect(await problemOf(await api.post(path, {}, { token: null }))).toBe("401 unauthenticated");
  });

  it.each([
    ["was stopped", { state: "stopped", stoppedAt: 1 }],
    ["is to be stopped", { state: "stopping" }],
  ] as const)("gets nothing of one that %s", async (_words, row) => {
    await db.update(instances).set(row).where(eq(instances.id, id));
    expect(await problemOf(await claim(id))).toBe("404 not_found");
  });

  it("is told which secret has no value any more", async () => {
    await api.delete("/api/v1/apps/shop/envs/production/secrets/DATABASE_URL");
    const response = await claim(id);
    expect(response.status).toBe(409);
    expect(JSON.stringify(await response.json())).toContain("DATABASE_URL has no value");
  });
});
