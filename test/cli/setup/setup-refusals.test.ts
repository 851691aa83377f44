import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { SetupOptions } from "../../../cli/setup/setup.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { changes, newDesk } from "../../support/cli/setup-desk.ts";
import {
  API_TOKEN,
  type Cloudflare,
  type CloudflareOptions,
  startCloudflare,
} from "../../support/cloudflare/server.ts";

/** What setup refuses, in words, before it has changed anything. */

async function account(options: CloudflareOptions = {}): Promise<Cloudflare> {
  const cloudflare = await startCloudflare({ scripts: [], isMigrated: true, ...options });
  onTestFinished(() => cloudflare.close());
  return cloudflare;
}

const ALL = [
  "Account › Workers Scripts › Edit",
  "Account › D1 › Edit",
  "Account › Workers KV Storage › Edit",
  "Account › Cloudflare Tunnel › Edit",
  "Zone › Zone › Read",
  "Zone › DNS › Edit",
  "Zone › Workers Routes › Edit",
] as const;

test("needs exactly the permissions that it lists, for a whole run", async () => {
  const cloudflare = await account({ tokens: { [API_TOKEN]: ALL } });
  expect((await newDesk({ cloudflare }).setup()).exit).toBe(0);
  expect(
    (await newDesk({ cloudflare }).teardown({ zone: "example.com", name: "sluice", yes: true, force: true }))
      .exit,
  ).toBe(0);
});

test("names all missing permissions at once, each with what it is for", async () => {
  const cloudflare = await account({
    tokens: { [API_TOKEN]: ["Zone › Zone › Read", "Zone › DNS › Edit", "Account › D1 › Edit"] },
  });
  const { code, exit, said } = await newDesk({ cloudflare }).setup();
  expect([code, exit]).toEqual(["not_configured", 2]);
  expect(said).toContain("lacks 4 of 7 permissions; nothing was changed");
  for (const name of [
    "Account › Workers Scripts",
    "Account › Workers KV Storage",
    "Account › Cloudflare Tunnel",
    "Zone › Workers Routes",
  ])
    expect(said).toMatch(new RegExp(`${name} › Edit +\\w`));
  expect(said).not.toMatch(/D1 › Edit/);
  expect(changes(cloudflare.log)).toEqual([]);
});

test("links to Cloudflare's form with the permissions filled in, and names those the link can't", async () => {
  const cloudflare = await account();
  const { said } = await newDesk({ cloudflare }).setup({ access: true }, { CLOUDFLARE_API_TOKEN: "" });
  const link = new URL(/https:\S+/.exec(said)?.[0] ?? "");
  expect(link.origin + link.pathname).toBe("https://dash.cloudflare.com/profile/api-tokens");
  expect(JSON.parse(link.searchParams.get("permissionGroupKeys") ?? "")).toEqual([
    { key: "workers_scripts", type: "edit" },
    { key: "d1", type: "edit" },
    { key: "workers_kv_storage", type: "edit" },
    { key: "argotunnel", type: "edit" },
    { key: "zone", type: "read" },
    { key: "dns", type: "edit" },
    { key: "workers_routes", type: "edit" },
    { key: "access", type: "edit" },
  ]);
  expect(said).toContain("add Account › Access: Service Tokens › Edit by hand");
});

const OTHER = { id: "0b".repeat(16), name: "Other" };

type Asked = Partial<SetupOptions> & { readonly env?: Record<string, string> };
const REFUSED: readonly (readonly [string, CloudflareOptions, Asked, string, string])[] = [
  [
    "a token that Cloudflare doesn't know",
    {},
    { env: { CLOUDFLARE_API_TOKEN: "wrong" } },
    "unauthenticated",
    "Invalid API Token",
  ],
  [
    "no token and nobody to ask",
    {},
    { env: { CLOUDFLARE_API_TOKEN: "" } },
    "unauthenticated",
    "set CLOUDFLARE_API_TOKEN",
  ],
  ["a domain the token doesn't see", {}, { zone: "exmaple.com" }, "not_found", "it sees example.com"],
  [
    "a name within a zone",
    {},
    { zone: "shop.example.com" },
    "not_found",
    "--zone example.com --control-hostname shop.example.com",
  ],
  ["an id for a domain", {}, { zone: "ab".repeat(16) }, "usage", "not the id"],
  [
    "a zone that isn't active yet",
    { zones: [{ name: "example.com", status: "pending" }] },
    {},
    "not_configured",
    "ada.ns.cloudflare.test and bob.ns.cloudflare.test",
  ],
  ["another account's zone", {}, { account: "Nobody" }, "usage", "belongs to the account Acme (0a0a"],
  [
    "a zone in two accounts",
    { zones: ["example.com", { name: "example.com", account: OTHER }] },
    {},
    "usage",
    `--account ${OTHER.id}`,
  ],
  [
    "a slot zone of another account",
    { zones: ["example.com", { name: "slots.dev", account: OTHER }] },
    { slotZone: "slots.dev" },
    "usage",
    "belongs to the account Other",
  ],
  [
    "a hostname that no certificate covers",
    {},
    { controlHostname: "a.sluice.example.com" },
    "usage",
    "one label below example.com",
  ],
  [
    "a hostname elsewhere",
    {},
    { controlHostname: "sluice.example.org" },
    "usage",
    "one label below example.com",
  ],
  ["a name that can't be one", {}, { name: "Sluice!" }, "usage", "--name Sluice!"],
  [
    "a variable that isn't set",
    {},
    { controlTokenEnv: "NARROW" },
    "usage",
    "NARROW, and that variable is not set",
  ],
  ["to do it with nobody to confirm", {}, { yes: false }, "confirmation_required", "add --yes"],
];

test.each(REFUSED)("refuses %s", async (_what, options, { env, ...asked }, code, words) => {
  const cloudflare = await account(options);
  const refused = await newDesk({ cloudflare }).setup(asked, env);
  expect(refused).toMatchObject({ code, said: expect.stringContaining(words) });
  expect(changes(cloudflare.log)).toEqual([]);
});

test.each([
  [{ botFightMode: true, level: "medium" }, /Bot Fight Mode is on/],
  [{ botFightMode: false, level: "under_attack" }, /Under Attack” is on/],
])("warns of a zone that challenges agents: %o", async (security, said) => {
  const cloudflare = await account({ zones: [{ name: "example.com", security }] });
  expect((await newDesk({ cloudflare }).setup({ dryRun: true })).said).toMatch(said);
});

test("says of a zone's security that its token may not read it, and goes on", async () => {
  const cloudflare = await account({ tokens: { [API_TOKEN]: ALL } });
  const { exit, said } = await newDesk({ cloudflare }).setup({ dryRun: true });
  expect(exit).toBe(0);
  expect(said).toMatch(/can't be read with this token \(Zone › Zone Settings › Read/);
  expect((await newDesk({ cloudflare: await account() }).setup({ dryRun: true })).said).not.toMatch(/^!/m);
});

test("notices a zone's id given as the account's", async () => {
  const cloudflare = await account();
  const { said } = await newDesk({ cloudflare }).setup({ account: cloudflare.state.zones[0]?.id ?? "" });
  expect(said).toMatch(/is the id of the zone example.com; --account takes its account's: Acme \(0a0a/);
});

test("takes a narrower token for control, and checks what that one may", async () => {
  const narrow = ALL.filter((name) => /Tunnel|Zone ›/.test(name));
  const cloudflare = await account({ tokens: { [API_TOKEN]: ALL, narrow, narrower: narrow.slice(1) } });
  const desk = newDesk({ cloudflare });
  const refused = await desk.setup({ controlTokenEnv: "NARROW" }, { NARROW: "narrower" });
  expect(refused.said).toMatch(/control's API token lacks 1 of 4[\s\S]*Account › Cloudflare Tunnel › Edit/);
  await desk.setup({ controlTokenEnv: "NARROW" }, { NARROW: "narrow" });
  const { bindings = [] } = cloudflare.state.workers.get("sluice-control") ?? {};
  expect(bindings.find(({ name }) => name === "CLOUDFLARE_API_TOKEN")?.text).toBe("narrow");
});

test("moves neither control nor the slots away from where hosts look for them", async () => {
  const cloudflare = await account({ zones: ["example.com", "slots.dev"] });
  await newDesk({ cloudflare }).setup({ slotZone: "slots.dev" });
  const other = newDesk({ cloudflare });
  expect(await other.setup({ slotZone: "slots.dev", controlHostname: "new.example.com" })).toMatchObject({
    said: expect.stringContaining("control is at sluice.example.com already"),
  });
  expect(await other.setup()).toMatchObject({
    code: "conflict",
    said: expect.stringContaining("sluice setup --slot-zone slots.dev"),
  });
  expect((await other.setup({ slotZone: "slots.dev" })).said).toContain("nothing to change");
});

test("does not take a database of a newer release down with it", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  cloudflare.state.databases[0]?.sqlite.exec("INSERT INTO d1_migrations (name) VALUES ('0099_future.sql')");
  expect(await desk.setup()).toMatchObject({
    code: "conflict",
    said: expect.stringContaining("newer than this checkout: it has 0099_future.sql"),
  });
});

test.each([
  ["atlantis", "is no region of Cloudflare's"],
  ["eu", "is a jurisdiction"],
  ["sam", "is a place for Durable Objects alone"],
])("refuses the region %s with the list, before it asks Cloudflare anything", async (region, why) => {
  const cloudflare = await account();
  const { code, said } = await newDesk({ cloudflare }).setup({ region });
  expect(code).toBe("usage");
  expect(said).toContain(why);
  for (const name of ["wnam", "enam", "weur", "eeur", "apac", "oc"]) expect(said).toContain(`${name} (`);
  expect(cloudflare.log).toEqual([]);
});

test("places D1 and all objects in one region, and moves neither afterwards", async () => {
  const cloudflare = await account();
  const regions = () => [
    cloudflare.state.databases[0]?.region,
    cloudflare.state.workers.get("sluice-control")?.bindings.find(({ name }) => name === "REGION")?.text,
  ];
  const desk = newDesk({ cloudflare });
  expect((await desk.setup({ region: "OC" })).exit).toBe(0);
  expect(regions()).toEqual(["OC", "oc"]);

  const before = cloudflare.log.length;
  for (const again of [{ region: "oc" }, {}]) await desk.setup(again);
  // From another machine, which has no record of it.
  await newDesk({ cloudflare }).setup();
  expect(changes(cloudflare.log.slice(before))).toEqual([]);

  const moved = await desk.setup({ region: "enam" });
  expect(moved.code).toBe("conflict");
  expect(moved.said).toContain("D1 is in oc (Oceania) already, and never moves");
  expect(moved.said).toContain("sluice setup --region oc");
});

test("with --images makes a bucket near D1, binds control to it, and keeps both ever after", async () => {
  const cloudflare = await account();
  const bound = () =>
    cloudflare.state.workers.get("sluice-control")?.bindings.find(({ name }) => name === "IMAGES")
      ?.bucket_name;
  const desk = newDesk({ cloudflare });
  await desk.setup({ region: "weur" });
  expect([cloudflare.state.buckets, bound()]).toEqual([[], undefined]);
  const { exit, said } = await desk.setup({ images: true });
  expect(exit, said).toBe(0);
  expect(said).toContain("R2 bucket sluice-images");
  expect(cloudflare.state.buckets).toEqual([{ name: "sluice-images", locationHint: "weur" }]);
  expect(bound()).toBe("sluice-images");
  const before = cloudflare.log.length;
  await desk.setup();
  await newDesk({ cloudflare }).setup();
  expect(changes(cloudflare.log.slice(before))).toEqual([]);
  expect((await desk.teardown({ dryRun: true })).stdout).toContain("keep    R2 bucket sluice-images");
});

test("without a region puts objects where Cloudflare put D1", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  await desk.setup();
  const { bindings = [] } = cloudflare.state.workers.get("sluice-control") ?? {};
  expect(bindings.find(({ name }) => name === "REGION")?.text).toBe("weur");
  const before = cloudflare.log.length;
  await desk.setup();
  expect(changes(cloudflare.log.slice(before))).toEqual([]);
});

test("leaves another installation's login alone, and says how to use this one's", async () => {
  const cloudflare = await account();
  const desk = newDesk({ cloudflare });
  mkdirSync(join(desk.home, ".config/sluice"), { recursive: true });
  const before = JSON.stringify({ url: "https://other.example.org", token: "slu_other" });
  writeFileSync(join(desk.home, ".config/sluice/cli.json"), before);
  const done = await desk.setup();
  expect(desk.read("cli.json")).toBe(before);
  expect(desk.read("sluice/cli.json")).toContain(done.stdout.trim());
  expect(done.said).toContain("was left alone; for this one: export SLUICE_URL=https://sluice.example.com");
});

test("takes its options from the command line, needs no control plane for it, and never a token as argument", async () => {
  const cloudflare = await account();
  const env = { CLOUDFLARE_API_TOKEN: API_TOKEN, CLOUDFLARE_API_BASE_URL: cloudflare.url };
  const planned = await callCli(["setup", "--zone", "EXAMPLE.com", "--dry-run"], { env });
  expect(planned.code).toBe(0);
  expect(planned.stdout.split("\n").map((line) => line.split(/ +/)[0])).toEqual([
    "create",
    "create",
    "change",
    "create",
    "deploy",
    "deploy",
    "create",
    "create",
    "",
  ]);
  expect(changes(cloudflare.log)).toEqual([]);
  const help = await callCli(["setup", "-h"]);
  expect(help.stdout).not.toMatch(/--token <token>.*Cloudflare/);
  expect((await callCli(["teardown", "--yes"], { env })).stderr).toContain("--name sluice");
});
