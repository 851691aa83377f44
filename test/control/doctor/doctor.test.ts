import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { examinePlaces, placeHere } from "../../../src/control/doctor/places.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { addUsed } from "../../../src/control/store/figures/days-of-use.ts";
import { tunnels } from "../../../src/control/store/schema/cloudflare.ts";
import { hostnames } from "../../../src/control/store/schema/hostnames.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { slots } from "../../../src/control/store/schema/slots.ts";
import { doctorSchema, insideAnswerSchema } from "../../../src/protocol/api/doctor.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

async function examination(from = api) {
  const { checks, ...rest } = doctorSchema.parse(await (await from.get("/api/v1/doctor")).json());
  const status = (id: string, subject = "control") =>
    checks.find((check) => check.id === id && check.subject === subject)?.status;
  return { ...rest, checks, status };
}

it("an empty installation works, and says that it has no host and no key for secrets", async () => {
  const { checks, status, actor } = await examination();
  expect(actor).toBe("admin");
  expect(status("control.database")).toBe("ok");
  expect(status("control.tables")).toBe("ok");
  expect(status("control.cloudflare")).toBe("skip");
  expect(checks.filter((check) => check.status === "warn").map(({ id }) => id)).toEqual([
    "control.secrets",
    "control.hosts",
  ]);
});

it("judges each host by what it said of itself and by its tunnel, and each hostname by its route", async () => {
  const { host } = await world.enrolled(api);
  await world.applied(api);
  await api.post("/agent/v1/poll", world.pollBody(), { token: null });
  const facts = {
    os: "Debian",
    arch: "x64",
    node: "24",
    tunnel: { state: "down", cause: "QUIC is blocked" },
  };
  await world.db.update(hosts).set({ lastSeenAt: api.time, facts }).where(eq(hosts.id, host.id));
  await world.db.insert(tunnels).values({
    hostId: host.id,
    name: "sluice-web-1",
    state: "ready",
    attempts: 0,
    createdAt: 1,
    updatedAt: 1,
  });
  await world.db.update(hostnames).set({ routeState: "pending", routeCause: "no zone shop.example.com" });
  const configured = new Api({}, { SLOT_ZONE: "example.com", SLOT_ZONE_ID: "z", CLOUDFLARE_ACCOUNT_ID: "a" });
  const { checks, status } = await examination(configured);
  expect(status("host.agent", "web-1")).toBe("ok");
  expect(checks.find(({ id }) => id === "host.tunnel")?.detail).toContain("QUIC is blocked");
  expect(checks.find(({ id }) => id === "hostname.route")?.detail).toContain("no zone shop.example.com");
  expect(checks.find(({ id }) => id === "control.cloudflare")).toMatchObject({
    status: "fail",
    detail: expect.stringContaining("CLOUDFLARE_API_TOKEN missing"),
  });
});

it("tells what of the Free plan's day is used, and nothing else when only that is asked, of however many environments", async () => {
  await world.applied(api);
  await world.manyMore(600);
  let asked = 0;
  const gone = {
    getByName: () => {
      asked += 1;
      throw new Error("every object is away");
    },
  } as never;
  const settings = {
    ...{ COORDINATOR: gone, METER: gone, SLOT_ZONE: "example.com", SLOT_ZONE_ID: "z" },
    ...{ CLOUDFLARE_ACCOUNT_ID: "a", CLOUDFLARE_API_TOKEN: "t", EDGE_WORKER: "e" },
  };
  const configured = new Api({}, settings);
  configured.time = Date.now();
  const used = { visitors: 90_000, objectCalls: 40_000, objectRows: 1_000, tableCopies: 20 };
  await addUsed(world.db, used, configured.time);
  // Yesterday's is over.
  await addUsed(world.db, used, configured.time - 86_400_000);
  const view = doctorSchema.parse(await (await configured.get("/api/v1/doctor?only=allowances")).json());
  expect(asked).toBe(0);
  expect(view.checks.map(({ id }) => id)).toEqual([
    "plan.requests",
    "plan.object_requests",
    "plan.object_rows",
    "plan.database_rows",
    "plan.table_copies",
  ]);
  expect(view.checks[0]).toMatchObject({ subject: "free plan", status: "warn" });
  expect(view.checks[0]?.detail).toMatch(/^about 9\d,\d{3} of 100,000 .*error 1027/);
  expect(view.checks[1]?.detail).toMatch(/^about 4\d,\d{3} of 100,000 Durable Object requests/);
});

it("goes on with the rest when one part does not answer", async () => {
  const broken = new Api({}, { TABLES: { get: () => Promise.reject(new Error("KV is away")) } as never });
  const { checks, status } = await examination(broken);
  expect(checks.find(({ id }) => id === "control.tables")).toMatchObject({
    status: "fail",
    detail: expect.stringContaining("KV is away"),
  });
  expect(status("control.hosts")).toBe("warn");
});

it("an app that names secrets needs the key for them", async () => {
  const text = world.manifest("shop").replace("port: 3000", "port: 3000\nsecrets: [DATABASE_URL]");
  expect((await api.apply("shop", text)).status).toBe(200);
  const { checks } = await examination();
  expect(checks.find(({ id }) => id === "control.secrets")).toMatchObject({
    status: "fail",
    detail: expect.stringContaining("shop/production"),
  });
});

it("is for those who may see everything", async () => {
  const made = await api.post("/api/v1/tokens", { name: "ci", role: "deployer", app: "shop" });
  const { token } = await made.json<{ token: string }>();
  const refused = await api.get("/api/v1/doctor", { token });
  expect(await problemOf(refused)).toBe("403 forbidden");
});

it("with live=1 asks an empty slot of each host with a tunnel, and only an admin may", async () => {
  const web = await world.enrolled(api, "web-1", 2);
  await world.enrolled(api, "lan-1", 1);
  const environmentId = await world.applied(api);
  await world.db
    .update(slots)
    .set({ origin: sql`'https://sl-' || ${slots.n} || '.invalid'` })
    .where(eq(slots.hostId, web.host.id));
  await world.instance({
    environmentId,
    releaseId: await world.release(environmentId),
    host: web,
    slot: 1,
  });
  const view = doctorSchema.parse(await (await api.get("/api/v1/doctor?live=1")).json());
  expect(view.slots).toEqual([{ host: "web-1", origin: "https://sl-0.invalid" }]);
  expect(view.checks.find(({ id }) => id === "live.path")).toMatchObject({
    subject: "web-1",
    status: "fail",
  });
  const made = await api.post("/api/v1/tokens", { name: "eye", role: "viewer" });
  const { token } = await made.json<{ token: string }>();
  expect((await api.get("/api/v1/doctor", { token })).status).toBe(200);
  expect(await problemOf(await api.get("/api/v1/doctor?live=1", { token }))).toBe("403 forbidden");
});

it("says where D1 and the objects are, asking each of them, and makes new ones in the region", async () => {
  await world.enrolled(api);
  await world.applied(api);
  vi.stubGlobal("fetch", async () => new Response("fl=1\ncolo=AMS\nhttp=http/2\n"));
  onTestFinished(() => void vi.unstubAllGlobals());
  const hints: unknown[] = [];
  const DB = new Proxy(env.DB, {
    get: (target, key) => {
      if (key !== "prepare") return Reflect.get(target, key);
      return () => ({ run: async () => ({ meta: { served_by_region: "WEUR", served_by_colo: "AMS" } }) });
    },
  });
  const objects = (kind: "COORDINATOR" | "HOST_LINK") => ({
    getByName: (_name: string, options: unknown) => {
      hints.push(options);
      return { place: () => (kind === "HOST_LINK" ? placeHere({ DB }) : { colo: "IAD", databaseMs: 92 }) };
    },
  });
  const HOST_LINK = objects("HOST_LINK") as unknown as typeof env.HOST_LINK;
  const COORDINATOR = objects("COORDINATOR") as unknown as typeof env.COORDINATOR;
  const at = { ...env, DB, HOST_LINK, COORDINATOR, REGION: "weur" };
  const checks = await examinePlaces({ env: at, db: openDb(env.DB) });
  expect(checks.map(({ id, subject, status }) => [id, subject, status])).toEqual([
    ["control.region", "control", "ok"],
    ["object.place", "shop/production", "warn"],
  ]);
  expect(checks[0]?.detail).toContain("D1 is in weur (AMS); coordinators in IAD; hosts' objects in AMS");
  expect(hints).toEqual([{ locationHint: "weur" }, { locationHint: "weur" }]);
});

it("asks from inside, for `doctor --live`, slots' hostnames alone: as its request, an object's, and an alarm's", async () => {
  vi.stubGlobal(
    "fetch",
    async () => new Response("error code: 1033", { status: 530, headers: { server: "cloudflare" } }),
  );
  onTestFinished(() => void vi.unstubAllGlobals());
  const configured = new Api({}, { SLOT_ZONE: "example.com" });
  const ask = async (body: object) => configured.post("/api/v1/doctor/questions", body);
  const hostname = "sl-doctor0123456789.example.com";
  for (const from of ["request", "object", "alarm", "alarm"])
    expect(insideAnswerSchema.parse(await (await ask({ kind: "look", hostname, from })).json())).toEqual({
      kind: "look",
      seen: { status: 530, error: null, code: "1033", isShielded: false, stoppedBy: null },
    });
  expect(insideAnswerSchema.parse(await (await ask({ kind: "batch" })).json())).toEqual({
    kind: "batch",
    refused: null,
  });
  const elsewhere = await ask({ kind: "look", hostname: "metadata.example.com", from: "request" });
  expect(await problemOf(elsewhere)).toBe("400 invalid_request");
});
