import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeRecord, makeTunnel, newLab } from "../../../cli/doctor/lab.ts";
import { connect } from "../../../cli/setup/cloudflare.ts";
import { changes, deployedControl, NOON, newDesk } from "../../support/cli/setup-desk.ts";
import type { Permission } from "../../support/cloudflare/api.ts";
import { API_TOKEN, type Cloudflare, startCloudflare } from "../../support/cloudflare/server.ts";

/** Teardown removes what setup and control made, and nothing else. */

const ALL = { name: "sluice", yes: true } as const;

async function account(): Promise<Cloudflare> {
  const cloudflare = await startCloudflare({
    scripts: [],
    zones: ["example.com", "other.dev"],
    isMigrated: true,
  });
  onTestFinished(() => cloudflare.close());
  return cloudflare;
}

const NEEDED: readonly Permission[] = [
  "Account › Workers Scripts › Edit",
  "Account › D1 › Edit",
  "Account › Workers KV Storage › Edit",
  "Zone › Zone › Read",
  "Zone › DNS › Edit",
  "Zone › Workers Routes › Edit",
];

const INSTANCE = {
  id: "ins_1",
  release: "rel_1",
  version: "v1",
  host: "web-1",
  slot: 1,
  state: "running",
  ready: true,
  cause: null,
  since: "2026-11-25T00:00:00.000Z",
};

const inventory = ({ state }: Cloudflare) => ({
  workers: [...state.scripts],
  domains: state.domains.map(({ hostname }) => hostname),
  routes: state.routes.map(({ pattern }) => pattern),
  records: state.records.map(({ name }) => name),
  databases: state.databases.map(({ name }) => name),
  namespaces: state.namespaces.map(({ title }) => title),
  serviceTokens: state.serviceTokens.map(({ name }) => name),
  tunnels: state.tunnels.map(({ name }) => name),
});

/** What a person has beside Sluice: Workers, a database with a like name, routes and records in both zones. */
async function lived(cloudflare: Cloudflare): Promise<void> {
  const theirs = newDesk({ cloudflare });
  await theirs.setup({ name: "sluice2", controlHostname: "second.example.com" });
  const { state } = cloudflare;
  const [zone = "", other = ""] = state.zones.map(({ id }) => id);
  state.scripts.add("blog");
  const record = { type: "A", content: "192.0.2.1", proxied: true, ttl: 1, comment: null };
  state.records.push(
    { ...record, id: "r1", zone, name: "www.example.com" },
    { ...record, id: "r2", zone: other, name: "other.dev" },
  );
  state.routes.push({ id: "w1", zone, pattern: "www.example.com/*", script: "blog" });
  state.serviceTokens.push({ id: "t1", name: "ci", clientId: "ci.access", secret: "x" });
}

/** As control does for two hostnames in two zones: a route each, a record of its own for one. */
function routed(cloudflare: Cloudflare): void {
  const { state } = cloudflare;
  const [zone = "", other = ""] = state.zones.map(({ id }) => id);
  state.routes.push({ id: "s1", zone, pattern: "shop.example.com/*", script: "sluice-edge" });
  state.routes.push({ id: "s2", zone: other, pattern: "other.dev/*", script: "sluice-edge" });
  const record = { type: "AAAA", content: "100::", proxied: true, ttl: 1, comment: null, zone };
  state.records.push(
    { ...record, id: "m1", name: "shop.example.com" },
    { ...record, id: "m2", name: "kept.example.com", content: "2001:db8::1" },
  );
  note(cloudflare, ["route", "s1", "shop.example.com/*", zone], ["route", "s2", "other.dev/*", other]);
  note(
    cloudflare,
    ["dns_record", "m1", "shop.example.com", zone],
    ["dns_record", "m2", "kept.example.com", zone],
  );
}

/** Into control's ledger. */
function note(
  { state }: Cloudflare,
  ...rows: [kind: string, id: string, name: string, zone: string, host?: string][]
): void {
  const insert = state.databases
    .find(({ name }) => name === "sluice")
    ?.sqlite.prepare(
      "INSERT INTO cloudflare_resources (kind, remote_id, name, zone_id, host_id, created_at) VALUES (?, ?, ?, ?, ?, 0)",
    );
  for (const [kind, id, name, zone, host = null] of rows) insert?.run(kind, id, name, zone, host);
}

test("leaves the account as it was, to the last record", async () => {
  const cloudflare = await account();
  await lived(cloudflare);
  const before = inventory(cloudflare);
  const desk = newDesk({ cloudflare });
  await desk.setup({ access: true });
  routed(cloudflare);
  const done = await desk.teardown({ ...ALL, deleteData: true });
  expect(done).toMatchObject({ exit: 0 });
  // One record is somebody's own by now: it has another content than control gave it.
  expect(inventory(cloudflare)).toEqual({
    ...before,
    records: [...before.records, "kept.example.com"],
  });
  expect(existsSync(join(desk.home, ".config/sluice/sluice"))).toBe(false);
  expect(existsSync(join(desk.home, ".config/sluice/cli.json"))).toBe(false);
});

test("takes routes away before the edge, and the edge before control", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  routed(cloudflare);
  const from = cloudflare.log.length;
  await desk.teardown({ ...ALL, deleteData: true });
  const kinds = changes(cloudflare.log.slice(from)).map(
    ({ path }) => /routes|dns_records|edge|domains|control|namespaces|d1/.exec(path)?.[0],
  );
  expect(kinds).toEqual([
    "routes",
    "routes",
    "dns_records",
    "edge",
    "domains",
    "control",
    "namespaces",
    "d1",
  ]);
});

test("keeps the data and its key unless told otherwise, and setup takes both up again", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  const key = desk.read("sluice/secrets-key");
  cloudflare.state.databases[0]?.sqlite.exec(
    "INSERT INTO apps (id, name, manifest, created_at, updated_at) VALUES ('app_1', 'shop', '{}', 0, 0)",
  );
  const done = await desk.teardown(ALL);
  expect(done.said).toMatch(/keep +D1 database sluice: releases, hosts, sealed secrets/);
  expect(inventory(cloudflare)).toMatchObject({ workers: [], namespaces: [], databases: ["sluice"] });
  await desk.setup();
  expect(desk.read("sluice/secrets-key")).toBe(key);
  const [database] = cloudflare.state.databases;
  expect(database?.sqlite.prepare("SELECT name FROM apps").all()).toEqual([{ name: "shop" }]);
});

test("removes the data that it kept, when that is wanted later", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  await desk.teardown(ALL);
  const done = await desk.teardown({ ...ALL, deleteData: true });
  expect(done.json.removed).toEqual(["D1 database sluice with all of Sluice's data"]);
  expect(inventory(cloudflare).databases).toEqual([]);
  expect(existsSync(join(desk.home, ".config/sluice/sluice"))).toBe(false);
});

test.each([
  ["hosts are enrolled", { hosts: [host("web-1")] }, /1 host \(web-1\)[\s\S]*sluice hosts remove web-1/],
  [
    "an environment has instances",
    { apps: [app([INSTANCE])] },
    /1 environment with instances \(shop\/production\)/,
  ],
])("refuses while %s", async (_what, use, words) => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare, fetch: deployedControl(cloudflare, use) });
  await desk.setup();
  const from = cloudflare.log.length;
  const refused = await desk.teardown(ALL);
  expect(refused).toMatchObject({ code: "conflict", exit: 2, said: expect.stringMatching(words) });
  expect(changes(cloudflare.log.slice(from))).toEqual([]);
});

test("does not mind an app without instances", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare, fetch: deployedControl(cloudflare, { apps: [app([])] }) });
  await desk.setup();
  expect((await desk.teardown(ALL)).exit).toBe(0);
});

test("removes a control that can't be asked with --force only, and names what hosts leave behind", async () => {
  const cloudflare = await account();
  let isGone = false;
  const control = deployedControl(cloudflare);
  const fetch: typeof globalThis.fetch = (input, init) =>
    isGone ? Promise.reject(new TypeError("fetch failed")) : control(input, init);
  const desk = newDesk({ cloudflare, fetch });
  await desk.setup();
  note(
    cloudflare,
    ["tunnel", "u1", "sluice-web-1-0a1b2c3d", "", "host_1"],
    ["dns_record", "m9", "sl-0123456789abcdef.example.com", "", "host_1"],
  );
  isGone = true;
  expect(await desk.teardown(ALL)).toMatchObject({
    code: "no_contact",
    said: expect.stringContaining("add --force"),
  });
  const done = await desk.teardown({ ...ALL, force: true });
  expect(done.exit).toBe(0);
  expect(done.said).toContain("  tunnel sluice-web-1-0a1b2c3d\n  dns record sl-0123456789abcdef.example.com");
  expect(done.json.left).toHaveLength(2);
});

test("says what it would remove, and removes nothing", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  const from = cloudflare.log.length;
  const planned = await desk.teardown({ dryRun: true });
  expect(planned.stdout.split("\n").map((line) => line.replace(/:.*/, ""))).toEqual([
    "remove  Worker sluice-edge",
    "remove  custom domain sluice.example.com",
    "remove  Worker sluice-control",
    "remove  KV namespace sluice-tables",
    "keep    D1 database sluice",
    "",
  ]);
  expect(changes(cloudflare.log.slice(from))).toEqual([]);
});

test("takes away what a killed doctor --live left, and names what one may be at work with", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  const [found] = cloudflare.state.zones;
  const zone = { id: found?.id ?? "", name: found?.name ?? "" };
  const owner = cloudflare.state.account;
  const never = new AbortController().signal;
  const sdk = connect({ token: API_TOKEN, baseUrl: cloudflare.url, signal: never });
  const of = { name: "sluice", account: owner, zone, slotZone: zone, controlHostname: "sluice.example.com" };
  const installation = { ...of, access: false, images: false, region: null };
  const labAt = (now: number) => newLab({ sdk, sweeper: sdk, installation, now });
  const [killed, young] = [labAt(NOON - 3_600_000), labAt(NOON)];
  for (const lab of [killed, young]) {
    const tunnel = await makeTunnel(lab);
    await makeRecord(lab, lab.slot, `${tunnel}.cfargotunnel.com`);
  }
  const { said } = await desk.teardown({ ...ALL, deleteData: true });
  expect(said).toContain(young.name);
  expect(said).not.toContain(killed.name);
  const living = cloudflare.state.tunnels.filter(({ deletedAt }) => deletedAt === null);
  expect(living.map(({ name }) => name)).toEqual([young.name]);
  expect(cloudflare.state.records.map(({ name }) => name)).toEqual([young.slot]);
});

test("on an account with nothing finds nothing to remove, and changes nothing", async () => {
  const cloudflare = await account();
  const done = await newDesk({ cloudflare }).teardown({ ...ALL, zone: "example.com", deleteData: true });
  expect(done).toMatchObject({ exit: 0, said: expect.stringContaining("nothing is there to remove") });
  expect(changes(cloudflare.log)).toEqual([]);
});

test.each([
  ["is refused", { answer: 403 }],
  ["is done, and its answer lost", { answer: "drop", afterWork: true }],
] as const)("ends whole when each removal in turn %s and it is run again", async (_how, fault) => {
  const first = await account();
  const desk = newDesk({ cloudflare: first });
  await desk.setup();
  const from = first.log.length;
  await desk.teardown({ ...ALL, deleteData: true });
  for (const { path } of changes(first.log.slice(from))) {
    const cloudflare = await account();
    const again = newDesk({ cloudflare });
    await again.setup();
    cloudflare.fail({ method: "DELETE", path: path.replace(/\?.*/, ""), ...fault });
    const cut = await again.teardown({ ...ALL, deleteData: true });
    if (fault.answer === 403) expect.soft(cut.code, path).toBe("cloudflare_refused");
    // A run that came through has forgotten its domain.
    const rest = await again.teardown({ ...ALL, zone: "example.com", deleteData: true });
    expect.soft(rest.exit, path).toBe(0);
    expect.soft(inventory(cloudflare), path).toEqual(inventory(first));
  }
});

test.each([
  "Account › Workers Scripts › Edit",
  "Account › D1 › Edit",
  "Account › Workers KV Storage › Edit",
  "Zone › DNS › Edit",
  "Zone › Workers Routes › Edit",
])("with a token that may read, not edit, is told %s, and goes on once it has it", async (lacking) => {
  const cloudflare = await account();
  const before = inventory(cloudflare);
  const desk = newDesk({ cloudflare });
  await desk.setup();
  routed(cloudflare);
  const all = ["Account › * › Edit", "Zone › * › Edit"] as const;
  const others = NEEDED.filter((one) => one !== lacking);
  cloudflare.state.tokens.set(API_TOKEN, [...others, lacking.replace("Edit", "Read") as Permission]);
  const { code, said } = await desk.teardown({ ...ALL, deleteData: true });
  expect(code).toBe("cloudflare_refused");
  expect(said).toContain(`lacks \`${lacking}\``);
  cloudflare.state.tokens.set(API_TOKEN, [...all]);
  expect((await desk.teardown({ ...ALL, deleteData: true })).exit).toBe(0);
  expect(inventory(cloudflare)).toEqual({ ...before, records: ["kept.example.com"] });
});

test("takes nothing for its own that nothing shows it made", async () => {
  const cloudflare = await account();
  await newDesk({ cloudflare }).setup();
  for (const worker of ["sluice-control", "sluice-edge"]) {
    cloudflare.state.workers.delete(worker);
    cloudflare.state.scripts.delete(worker);
  }
  const done = await newDesk({ cloudflare }).teardown({
    ...ALL,
    zone: "example.com",
    deleteData: true,
    force: true,
  });
  expect(done.json).toMatchObject({
    removed: [],
    left: ["the D1 database sluice", "the KV namespace sluice-tables"],
  });
  expect(inventory(cloudflare).databases).toEqual(["sluice"]);
});

test("wants its name typed, or given", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  expect(await desk.teardown({ yes: true })).toMatchObject({
    code: "usage",
    said: expect.stringContaining("--name sluice"),
  });
  expect(await desk.teardown()).toMatchObject({ code: "confirmation_required" });
  expect(await newDesk({ cloudflare }).teardown(ALL)).toMatchObject({
    code: "usage",
    said: expect.stringContaining("--zone example.com"),
  });
});

function host(name: string): object {
  return {
    id: "host_1",
    name,
    labels: {},
    runtime: "docker",
    agentVersion: "1",
    state: "online",
    lastSeenAt: null,
    clockSkewMs: null,
    facts: null,
    factsAt: null,
    rotateAt: null,
    slots: { total: 8, used: 0, reserved: 0, free: 8 },
    instances: [],
    createdAt: "2026-11-25T00:00:00.000Z",
  };
}

function app(instances: object[]): object {
  return {
    app: "shop",
    createdAt: "2026-11-25T00:00:00.000Z",
    environments: [
      {
        app: "shop",
        environment: "production",
        hostnames: [],
        strategy: "blue-green",
        replicas: 1,
        split: [],
        active: null,
        queued: [],
        live: null,
        instances,
        lock: null,
        table: { version: 1, publishedAt: null },
        mode: "open",
        rollback: { possible: false, how: null, to: null, reason: "" },
        next: [],
      },
    ],
  };
}

test("says which permission is missing to find the edge's routes", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  cloudflare.state.tokens.set(
    API_TOKEN,
    NEEDED.filter((one) => !one.includes("Workers Routes")),
  );
  const { code, said } = await desk.teardown(ALL);
  expect(code).toBe("cloudflare_refused");
  expect(said).toContain("refused to list the Worker routes of example.com");
  expect(said).toContain("lacks `Zone › Workers Routes › Edit`");
});
