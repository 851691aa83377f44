import { expect, onTestFinished, test } from "vitest";
import { changes, newDesk } from "../../support/cli/setup-desk.ts";
import { type Cloudflare, startCloudflare } from "../../support/cloudflare/server.ts";

/** Names that others have: a Worker, a database, a namespace, a record, a route. Setup leaves them alone. */

async function account(): Promise<Cloudflare> {
  const cloudflare = await startCloudflare({ scripts: [], isMigrated: true });
  onTestFinished(() => cloudflare.close());
  return cloudflare;
}

test("leaves names alone that others have", async () => {
  const cloudflare = await account();
  const { state } = cloudflare;
  const desk = newDesk({ cloudflare });
  const zone = state.zones[0]?.id ?? "";
  const record = {
    id: "r1",
    zone,
    type: "A",
    name: "sluice.example.com",
    content: "192.0.2.1",
    proxied: true,
    ttl: 1,
    comment: null,
  };
  state.records.push(record);
  expect(await desk.setup()).toMatchObject({
    code: "hostname_taken",
    said: expect.stringContaining("A 192.0.2.1"),
  });
  state.records.length = 0;
  await newDesk({ cloudflare }).setup({ name: "sluice", controlHostname: "first.example.com" });
  const control = state.workers.get("sluice-control");
  if (control) control.bindings = control.bindings.filter(({ name }) => name !== "COORDINATOR");
  expect(await desk.setup({ controlHostname: "first.example.com" })).toMatchObject({
    code: "conflict",
    said: expect.stringContaining("is not Sluice's control"),
  });
  const before = changes(cloudflare.log).length;
  expect(await desk.setup({ name: "other", controlHostname: "first.example.com" })).toMatchObject({
    code: "hostname_taken",
    said: expect.stringContaining("is the Worker sluice-control's"),
  });
  state.databases[0]?.sqlite.exec("DROP TABLE d1_migrations");
  expect(await desk.setup({ controlHostname: "first.example.com" })).toMatchObject({
    code: "conflict",
    said: expect.stringContaining("has tables that are not Sluice's"),
  });
  expect(changes(cloudflare.log)).toHaveLength(before);
});

test.each([
  [
    "*.example.com/*",
    "web",
    "hostname_taken",
    "would be answered by the Worker web: its route *.example.com/* goes before",
  ],
  ["https://sluice.example.com/api/*", "web", "hostname_taken", "its route sluice.example.com/api/*"],
  ["*example.com/blog/*", "web", undefined, "works at once"],
  ["*.elsewhere.example.com/*", "web", undefined, "works at once"],
])("looks whose the route %s is before control stands behind it", async (pattern, script, code, words) => {
  const cloudflare = await account();
  const zone = cloudflare.state.zones[0]?.id ?? "";
  cloudflare.state.routes.push({ id: "r1", zone, pattern, script });
  const { said, ...done } = await newDesk({ cloudflare }).setup();
  expect([done.code, said]).toEqual([code, expect.stringContaining(words)]);
  if (code === undefined) return;
  expect(changes(cloudflare.log)).toEqual([]);
  // A route without a Worker leads past it.
  cloudflare.state.routes.push({ id: "r2", zone, pattern: "sluice.example.com/api/v1/*", script: null });
  cloudflare.state.routes.push({ id: "r3", zone, pattern: "sluice.example.com/*", script: null });
  const past = await newDesk({ cloudflare }).setup();
  expect(past.code).toBe(pattern.includes("/api") ? "hostname_taken" : undefined);
});

test("takes no KV namespace with others' keys, and no database with another product's migrations", async () => {
  const cloudflare = await account();
  const { state } = cloudflare;
  state.namespaces.push({ id: "b".repeat(32), title: "sluice-tables", keys: ["session:42"] });
  const taken = await newDesk({ cloudflare }).setup();
  expect([taken.code, taken.said]).toEqual([
    "conflict",
    expect.stringContaining("not Sluice's (session:42)"),
  ]);
  // What an installation before left in it is.
  const own = { id: "b".repeat(32), title: "sluice-tables", keys: ["table:shop.example.com"] };
  state.namespaces.splice(0, 1, own);
  expect((await newDesk({ cloudflare }).setup()).exit).toBe(0);
  state.workers.clear();
  state.domains.length = 0;
  state.records.length = 0;
  state.databases[0]?.sqlite.exec("UPDATE d1_migrations SET name = 'their_' || name");
  const before = changes(cloudflare.log).length;
  const theirs = await newDesk({ cloudflare }).setup();
  expect([theirs.code, theirs.said]).toEqual([
    "conflict",
    expect.stringMatching(
      /the D1 database sluice is there and has another product's tables \(migrations their_0/,
    ),
  ]);
  expect(changes(cloudflare.log)).toHaveLength(before);
});

test("names a challenge that stands before control's hostname", async () => {
  const cloudflare = await account();
  const challenge = async () =>
    new Response("<html>", { status: 403, headers: { "cf-mitigated": "challenge" } });
  const { exit, said } = await newDesk({ cloudflare, fetch: challenge }).setup();
  expect(exit).toBe(6);
  expect(said).toMatch(
    /does not answer yet: stopped by a challenge of Cloudflare's[\s\S]*Bot Fight Mode off/,
  );
});
