import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { slots } from "../../../src/control/store/schema/slots.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { enrollmentSchema } from "../../../src/protocol/api/enrollments.ts";
import { hostSchema } from "../../../src/protocol/api/hosts.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});
const show = async (name = "web-1") =>
  hostSchema.parse(await (await api.get(`/api/v1/hosts/${name}`)).json());

describe("a host", () => {
  it("is online while its agent polls, offline 90 s after, with what it runs and how many slots are left", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId);
    await world.instance({ environmentId, releaseId, host, slot: 1 });
    expect((await show()).state).toBe("offline");
    await api.post("/agent/v1/poll", world.pollBody(), { token: host.token });
    expect(await show()).toMatchObject({
      state: "online",
      slots: { total: 4, used: 1, reserved: 0, free: 3 },
      instances: [{ slot: 1, version: "v1", host: "web-1", ready: true }],
    });
    api.time += 89_999;
    expect((await show()).state).toBe("online");
    api.time += 1;
    expect((await show()).state).toBe("offline");
  });

  it("can't be removed while instances live on it, unless by force; then its token is worth nothing", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    await world.instance({ environmentId, releaseId: await world.release(environmentId), host, slot: 0 });
    const refused = await api.delete("/api/v1/hosts/web-1");
    expect(await problemOf(refused)).toBe("409 host_busy");
    expect((await refused.json<Problem>()).detail).toContain("v1 in slot 0");
    const removed = hostSchema.parse(await (await api.delete("/api/v1/hosts/web-1?force=1")).json());
    expect(removed).toMatchObject({ name: "web-1", state: "removed" });
    expect(await problemOf(await api.get("/api/v1/hosts/web-1"))).toBe("404 not_found");
    const poll = await api.post("/agent/v1/poll", world.pollBody(), { token: host.token });
    expect(await problemOf(poll)).toBe("401 token_revoked");
  });

  it("has its workers and what runs there just now shown, and can't be removed while it has any", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId);
    const at = { environmentId, releaseId, host };
    await world.instance(
      { ...at, slot: 0 },
      { id: "ins-w", slotId: null, process: "mailer", state: "ready" },
    );
    await world.job(at, { id: "run-1", kind: "run", state: "leased", payload: { hook: "contract" } });
    await world.job(at, { id: "run-2", kind: "command", state: "leased", payload: { process: "backup" } });
    await world.job(at, { kind: "command", state: "queued", payload: { process: "later" } });
    expect(await show()).toMatchObject({
      instances: [],
      workers: [{ id: "ins-w", app: "shop", environment: "production", process: "mailer", state: "ready" }],
      runs: [{ what: "contract" }, { what: "backup" }],
    });
    const refused = await api.delete("/api/v1/hosts/web-1");
    expect(await problemOf(refused)).toBe("409 host_busy");
    const { detail } = await refused.json<Problem>();
    expect(detail).toContain("mailer of shop/production, contract of shop/production, which runs just now");
  });

  it("can't be drained where what serves there has nowhere to go, and says what that is", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId, { weightBp: 10_000 });
    await world.instance({ environmentId, releaseId, host, slot: 0 });
    await api.post("/agent/v1/poll", world.pollBody(), { token: host.token });
    const refused = await api.put("/api/v1/hosts/web-1/drain", {});
    expect(refused.status).toBe(409);
    expect((await refused.json<Problem>()).detail).toContain(
      "shop/production has 1 of 1 instances of v1 there",
    );
    expect((await show()).drain).toBeNull();
    expect((await api.put("/api/v1/hosts/web-1/drain?force=1", {})).status).toBe(202);
    expect((await show()).drain).toMatchObject({ by: "admin" });
  });

  it("is drained once, however often it is said, and carries again when that is taken back; both are told", async () => {
    const host = await world.enrolled(api);
    const other = await world.enrolled(api, "web-2");
    for (const { token } of [host, other]) await api.post("/agent/v1/poll", world.pollBody(), { token });
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId, { weightBp: 10_000 });
    await world.instance({ environmentId, releaseId, host, slot: 0 });
    const first = hostSchema.parse(await (await api.put("/api/v1/hosts/web-1/drain", {})).json());
    api.time += 1_000;
    const second = hostSchema.parse(await (await api.put("/api/v1/hosts/web-1/drain", {})).json());
    expect(second.drain).toEqual(first.drain);
    expect(second.instances).toHaveLength(1);
    expect(api.coordinators.of("poke").map(({ environment }) => environment)).toContain(environmentId);
    const refused = await api.delete("/api/v1/hosts/web-1");
    expect((await refused.json<Problem>()).next?.map(({ command }) => command)).toContain(
      "sluice hosts drain web-1",
    );
    const back = hostSchema.parse(await (await api.delete("/api/v1/hosts/web-1/drain")).json());
    expect(back.drain).toBeNull();
    const told = (await world.db.select().from(events)).map(({ type }) => type);
    expect(told.filter((type) => /host\..*drain/.test(type))).toEqual(["host.draining", "host.undrained"]);
  });

  it("says which of its slots somebody else has, until they are tried again", async () => {
    const host = await world.enrolled(api);
    const aside = { asideCause: "port 20001 is taken", asideUntil: api.time + 1_000 };
    await world.db
      .update(slots)
      .set(aside)
      .where(eq(slots.id, `${host.host.id}/1`));
    expect((await show()).aside).toMatchObject([{ slot: 1, cause: "port 20001 is taken" }]);
    api.time += 1_000;
    expect((await show()).aside).toEqual([]);
  });

  it("that was removed ends with all it had in one write, and though control dies after it, whoever decides is told", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId, { weightBp: 10_000 });
    const id = await world.instance({ environmentId, releaseId, host, slot: 0 });
    await world.job({ environmentId, releaseId, host }, { id: "start-1", kind: "start", instanceId: id });
    await world.job({ environmentId, releaseId, host }, { id: "stop-1", kind: "stop", instanceId: id });
    // A command that it had not taken may be run by another host; one that it had begun, never again.
    await world.job({ environmentId, releaseId, host }, { id: "cmd-1", kind: "command" });
    await world.job({ environmentId, releaseId, host }, { id: "cmd-2", kind: "command", state: "leased" });
    const { rev } = (await world.db.select().from(environments))[0] ?? { rev: -1 };
    await api.delete("/api/v1/hosts/web-1?force=1");
    expect(await world.db.select().from(instances)).toMatchObject([
      { state: "stopped", stoppedAt: api.time },
    ]);
    expect(await world.db.select().from(jobs).orderBy(jobs.id)).toMatchObject([
      { id: "cmd-1", state: "cancelled" },
      { id: "cmd-2", state: "failed", error: { code: "host_removed" } },
      { id: "start-1", state: "failed", error: { code: "host_removed" } },
      { id: "stop-1", state: "cancelled" },
    ]);
    // Nobody who read before it puts anything there.
    expect((await world.db.select().from(environments))[0]?.rev).toBe(rev + 1);
    api.coordinators.asked.length = 0;
    await sweep(api.env, api.time);
    expect(api.coordinators.of("poke").map(({ environment }) => environment)).toEqual([environmentId]);
  });

  it("that was removed gives its name back", async () => {
    await world.enrolled(api);
    await api.delete("/api/v1/hosts/web-1");
    const again = await world.enrolled(api);
    expect((await show()).id).toBe(again.host.id);
  });

  it("is enrolled by a command that carries the token once, as a variable", async () => {
    const response = await api.post("/api/v1/hosts/enrollments", { name: "web-1", labels: { tier: "web" } });
    expect(response.status).toBe(201);
    const { command, token, expiresAt, agentSha256 } = enrollmentSchema.parse(await response.json());
    expect(command).toBe(
      `curl -fsSL https://control.test/install.sh | SLUICE_ENROLL_TOKEN=${token} SLUICE_ORIGIN_BASE='http://<address of web-1>' sh`,
    );
    expect(agentSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(Date.parse(expiresAt)).toBe(api.time + 3_600_000);
  });

  it.each([
    [{ originBase: "http://10.0.0.7" }, {}, / SLUICE_ORIGIN_BASE=http:\/\/10\.0\.0\.7 sh$/],
    [{}, { CLOUDFLARE_API_TOKEN: "t" }, /^curl -fsSL \S+ \| SLUICE_ENROLL_TOKEN=\S+ sh$/],
    [
      { container: "acme/agent:1", originBase: "http://10.0.0.7" },
      {},
      /^SLUICE_ENROLL_TOKEN=\S+ docker run -d .*--network host .* acme\/agent:1 --url https:\/\/control\.test --origin-base http:\/\/10/,
    ],
    [{ container: "a'; reboot; '" }, {}, / 'a'\\''; reboot; '\\''' --url/],
  ])("is enrolled %j by the line that fits", async (more, bindings, line) => {
    const made = await new Api({}, bindings).post("/api/v1/hosts/enrollments", { name: "web-1", ...more });
    const { command, token } = enrollmentSchema.parse(await made.json());
    expect(command).toMatch(line);
    expect(command.split(token)).toHaveLength(2);
  });

  it("is listed by name, in pages", async () => {
    for (const name of ["c", "a", "b"]) await world.enrolled(api, name);
    const page = async (query: string) =>
      (await api.get(`/api/v1/hosts?limit=2${query}`)).json<{
        items: { name: string }[];
        nextCursor: string;
      }>();
    const first = await page("");
    expect(first.items.map(({ name }) => name)).toEqual(["a", "b"]);
    expect((await page(`&cursor=${first.nextCursor}`)).items.map(({ name }) => name)).toEqual(["c"]);
  });
});

describe("the audit log", () => {
  it("has every mutation with who did it, newest first", async () => {
    await world.applied(api);
    await world.enrolled(api);
    const { id } = await (await api.post("/api/v1/tokens", { name: "ci", role: "viewer" })).json<{
      id: string;
    }>();
    await api.delete(`/api/v1/tokens/${id}`);
    await api.delete("/api/v1/hosts/web-1");
    const { items } = await (await api.get("/api/v1/audit")).json<{
      items: { type: string; actor: string }[];
    }>();
    expect(items.map(({ type, actor }) => `${type} ${actor}`)).toEqual([
      "host.removed admin",
      "token.revoked admin",
      "token.created admin",
      "host.enrolled agent:web-1",
      "app.applied admin",
      "hostname.granted admin",
    ]);
  });

  it("is paged without a gap or a repetition", async () => {
    for (let i = 0; i < 5; i += 1) await api.post("/api/v1/tokens", { name: `t${i}`, role: "viewer" });
    const ids: number[] = [];
    let cursor = "";
    do {
      const response = await api.get(`/api/v1/audit?limit=2${cursor}`);
      const page = await response.json<{ items: { id: number }[]; nextCursor: string | null }>();
      ids.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor === null ? "" : `&cursor=${page.nextCursor}`;
    } while (cursor);
    expect(ids).toEqual([5, 4, 3, 2, 1]);
  });
});
