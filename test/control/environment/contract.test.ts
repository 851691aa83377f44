import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { collect } from "../../../src/client/client.ts";
import { Client } from "../../../src/client/index.ts";
import { createApp } from "../../../src/control/app.ts";
import { sha256 } from "../../../src/control/ids.ts";
import { enrollAnswerSchema } from "../../../src/protocol/agent/enroll.ts";
import type { Job } from "../../../src/protocol/agent/jobs.ts";
import { pollAnswerSchema } from "../../../src/protocol/agent/poll.ts";
import { ADMIN_TOKEN } from "../support/api.ts";
import * as world from "../support/world.ts";

/**
 * The typed client against the app, on the real D1 and the real coordinator: the client parses each answer with the
 * protocol's schemas, so an answer that drifts from them fails here.
 */
const URL_ = "https://control.test";
const app = createApp();
const ADMIN_TOKEN_SHA256 = await sha256(ADMIN_TOKEN);
const fetchApp = async (url: string, init: RequestInit): Promise<Response> => {
  const ctx = createExecutionContext();
  const response = await app.fetch(new Request(url, init), { ...env, ADMIN_TOKEN_SHA256 }, ctx);
  await waitOnExecutionContext(ctx);
  return response;
};
const client = new Client({ url: URL_, token: ADMIN_TOKEN, fetch: fetchApp, retries: 0 });

beforeEach(world.emptyWorld);

/** One agent's calls, parsed as the agent parses them. */
async function enrollAgent(name: string) {
  const post = (path: string, token: string | null, body: unknown) =>
    fetchApp(`${URL_}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
      body: JSON.stringify(body),
    });
  const made = await client.hosts.createEnrollment({ name });
  const enrolled = await post("/agent/v1/enroll", null, world.enrollBody(made.token));
  const { token } = enrollAnswerSchema.parse(await enrolled.json());
  const poll = async () => {
    const answer = await post("/agent/v1/poll", token, world.pollBody({ clock: Date.now() }));
    return pollAnswerSchema.parse(await answer.json()).jobs;
  };
  const done = (job: Job, result: unknown) =>
    post(`/agent/v1/jobs/${job.id}/done`, token, { lease: job.lease, ok: true, result });
  return { poll, done };
}

describe("the client and the app agree", () => {
  it("on every resource of an app's way from manifest to release", async () => {
    expect(await client.apps.apply("shop", world.manifest(), { dryRun: true })).toMatchObject({
      dryRun: true,
    });
    expect(await client.apps.apply("shop", world.manifest())).toMatchObject({ created: true });
    const agent = await enrollAgent("web-1");
    await agent.poll();
    expect((await client.releases.plan("shop", "production", {})).instances).toEqual([
      { host: "web-1", slot: 0 },
    ]);

    const at = { app: "shop", environment: "production", idempotencyKey: "ci-1" };
    const release = await client.releases.create(at, { version: "v7" });
    expect(release).toMatchObject({ version: "v7", app: "shop", by: "admin" });
    expect((await client.releases.create(at, { version: "v7" })).id).toBe(release.id);
    expect((await client.releases.get(release.id)).id).toBe(release.id);
    expect((await client.releases.list("shop", "production")).items).toHaveLength(1);
    const { environment, etag } = await client.environments.get("shop", "production");
    expect(etag).toMatch(/^"env_\w+-\d+"$/);
    expect(environment.active?.id ?? environment.queued[0]?.release).toBe(release.id);
    expect((await client.apps.get("shop")).environments).toHaveLength(1);
    expect(await collect((page) => client.apps.list(page))).toHaveLength(1);

    const aborted = await client.releases.abort(release.id, { reason: "enough seen" });
    expect(aborted.state).toBe("aborted");
    const messages: string[] = [];
    for await (const item of client.releases.follow(release.id))
      if (item.kind === "event") messages.push(item.event.message);
    expect(messages.at(-1)).toContain("enough seen");
  });

  it("on the jobs that a real release hands to an agent", async () => {
    await client.apps.apply("shop", world.manifest());
    const agent = await enrollAgent("web-1");
    await agent.poll();
    const at = { app: "shop", environment: "production", idempotencyKey: "ci-2" };
    await client.releases.create(at, {});
    const [pull] = await agent.poll();
    expect(pull).toMatchObject({ kind: "pull", image: "ghcr.io/acme/shop" });
    if (!pull) return;
    const image = `ghcr.io/acme/shop@sha256:${"a".repeat(64)}`;
    expect((await agent.done(pull, { image, digest: `sha256:${"a".repeat(64)}` })).status).toBe(200);
    const [start] = await agent.poll();
    expect(start).toMatchObject({ kind: "start", spec: { image, hostPort: 20_000, app: "shop" } });
  });

  it("on a lock, maintenance and a plan that they stand in the way of", async () => {
    await client.apps.apply("shop", world.manifest());
    const agent = await enrollAgent("web-1");
    await agent.poll();
    const locked = await client.environments.lock("shop", "production", {
      reason: "audit week",
      expiresInMinutes: 5,
    });
    expect(locked.lock).toMatchObject({ holder: "admin", reason: "audit week" });
    const { problems } = await client.releases.plan("shop", "production", {});
    expect(problems).toMatchObject([{ code: "locked", detail: expect.stringContaining("audit week") }]);
    const at = { app: "shop", environment: "production", idempotencyKey: "ci-3" };
    expect((await client.releases.create(at, {})).state).toBe("queued");
    await expect(
      client.releases.create({ ...at, idempotencyKey: "ci-4" }, { whenBusy: "reject" }),
    ).rejects.toMatchObject({ problem: { code: "locked" } });
    expect((await client.environments.unlock("shop", "production")).lock?.holder).not.toBe("admin");
    const shut = await client.environments.beginMaintenance("shop", "production", {
      message: "back at nine",
    });
    expect(shut.mode).toBe("maintenance");
    expect((await client.environments.endMaintenance("shop", "production")).mode).toBe("open");
    const said = (await client.installation.audit()).items.map(({ type }) => type);
    expect(said).toEqual(expect.arrayContaining(["lock.changed", "traffic.mode"]));
  });

  it("on orders to a release: those that come at the wrong time are refused, and say why", async () => {
    await client.apps.apply("shop", world.manifest("shop", "    strategy: canary\n"));
    const agent = await enrollAgent("web-1");
    await agent.poll();
    const at = { app: "shop", environment: "production", idempotencyKey: "ci-5" };
    const { id } = await client.releases.create(at, { hold: true });
    for (const order of [
      client.releases.promote(id, { full: true }),
      client.releases.pause(id, { step: 0 }),
      client.releases.resume(id),
    ])
      await expect(order).rejects.toMatchObject({ problem: { code: "stale_step", status: 409 } });
    await expect(client.releases.createPreview(id)).rejects.toMatchObject({
      problem: { code: "release_not_serving" },
    });
    expect((await client.releases.verdicts(id)).items).toEqual([]);
  });

  it("on an accessory's way from start to removal", async () => {
    await client.apps.apply("shop", `${world.manifest()}accessories:\n  db: { image: "postgres:17" }\n`);
    const agent = await enrollAgent("web-1");
    await agent.poll();
    const at = { app: "shop", environment: "production", name: "db" };
    const order = async (begun: Promise<{ state: string }>, result: object) => {
      const { state } = await begun;
      const [job] = await agent.poll();
      if (job) await agent.done(job, result);
      return [state, (await client.accessories.list("shop", "production")).items[0]?.state];
    };
    const image = "postgres@sha256:abc";
    expect(await order(client.accessories.command(at, "start"), { image })).toEqual(["starting", "running"]);
    expect(await order(client.accessories.command(at, "upgrade"), { image })).toEqual([
      "starting",
      "running",
    ]);
    expect(await order(client.accessories.command(at, "stop"), {})).toEqual(["stopping", "stopped"]);
    expect(await order(client.accessories.remove(at), {})).toEqual(["stopping", "absent"]);
  });

  it("on hosts, tokens, the audit log and health", async () => {
    await enrollAgent("web-1");
    expect(await client.hosts.get("web-1")).toMatchObject({ name: "web-1", slots: { total: 8 } });
    expect((await client.hosts.list()).items).toHaveLength(1);
    const token = await client.tokens.create({ name: "ci", role: "deployer", app: "shop" });
    expect((await client.tokens.list()).items.map(({ id }) => id)).toContain(token.id);
    await client.tokens.revoke(token.id);
    await client.hosts.remove("web-1", { force: true });
    expect((await client.installation.audit()).items[0]?.type).toBe("host.removed");
    expect((await client.installation.health()).status).toBe("healthy");
  });

  it("on refusals: each comes as the problem it is", async () => {
    await expect(client.apps.get("none")).rejects.toMatchObject({ problem: { code: "not_found" } });
    await expect(client.apps.apply("shop", "nope: 1")).rejects.toMatchObject({
      problem: { code: "manifest_invalid" },
    });
    await client.apps.apply("shop", world.manifest());
    const at = { app: "shop", environment: "production" };
    await expect(client.environments.setWeights(at, { v1: 100 })).rejects.toMatchObject({
      problem: { code: "weights_invalid" },
    });
    await expect(client.environments.rollback("shop", "production")).rejects.toMatchObject({
      problem: { code: "nothing_to_roll_back" },
    });
  });
});
