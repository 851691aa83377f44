import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { wranglerIn } from "../../../cli/setup/wrangler.ts";
import { changes, type Desk, type Done, newDesk } from "../../support/cli/setup-desk.ts";
import { quickWrangler } from "../../support/cloudflare/quick-wrangler.ts";
import { runUploaded } from "../../support/cloudflare/run-workers.ts";
import { type Cloudflare, startCloudflare } from "../../support/cloudflare/server.ts";

/** Setup with the real wrangler: what the stand-in gets here is what Cloudflare gets. */

/** Each start of wrangler takes seconds, and many where other tests run beside it. */
const TIMEOUT_MS = 120_000;

const ends: (() => unknown)[] = [];
afterAll(() => Promise.all(ends.map((end) => end())));

async function emptyAccount(): Promise<Cloudflare> {
  const cloudflare = await startCloudflare({ scripts: [] });
  ends.push(() => cloudflare.close());
  return cloudflare;
}

/** The real one for some of setup's commands, for all others its calls alone. */
const realFor =
  (isReal: (what: string) => boolean, { url }: Cloudflare): typeof wranglerIn =>
  (parts) =>
  (command) =>
    (isReal(command.what) ? wranglerIn : quickWrangler(url))(parts)(command);

/** One account, set up once for all tests of this file that don't need an empty one. */
let cloudflare: Cloudflare;
let desk: Desk;
let done: Done;
let isReal = (_what: string) => true;
beforeAll(async () => {
  cloudflare = await emptyAccount();
  const wrangler = realFor((what) => isReal(what), cloudflare);
  desk = newDesk({ cloudflare, wrangler, atEnd: (end) => ends.push(end) });
  done = await desk.setup();
}, TIMEOUT_MS);

const modeOf = (desk: Desk, file: string) => statSync(join(desk.home, ".config/sluice", file)).mode & 0o777;
const secretsOf = ({ state }: Cloudflare, worker: string) =>
  Object.fromEntries(
    (state.workers.get(worker)?.bindings ?? [])
      .filter(({ type }) => type === "secret_text")
      .map(({ name, text }) => [name, String(text)]),
  );

test("makes a control that runs, knows its admin, and is found by the command line", async () => {
  expect(done).toMatchObject({ exit: 0, json: { answers: true, url: "https://sluice.example.com" } });

  const token = done.stdout.trim();
  expect(JSON.parse(desk.read("cli.json"))).toEqual({ url: "https://sluice.example.com", token });
  expect(JSON.parse(desk.read("sluice/cli.json"))).toEqual({ url: "https://sluice.example.com", token });
  for (const file of ["cli.json", "sluice/cli.json", "sluice/secrets-key", "sluice/control.json"])
    expect(modeOf(desk, file)).toBe(0o600);

  const { domains, routes, databases, namespaces, workers } = cloudflare.state;
  expect(domains.map(({ hostname, service }) => [hostname, service])).toEqual([
    ["sluice.example.com", "sluice-control"],
  ]);
  expect(routes).toEqual([]);
  expect([databases.length, namespaces.length]).toEqual([1, 1]);
  expect(workers.get("sluice-control")).toMatchObject({
    workersDev: false,
    crons: ["* * * * *"],
    classes: ["Coordinator", "HostLink", "LogRelay", "Meter", "Notifier", "Auditor"],
  });
  // Without its own name control could be taken by an app.
  expect(workers.get("sluice-control")?.bindings).toContainEqual(
    expect.objectContaining({ name: "CONTROL_HOSTNAME", text: "sluice.example.com" }),
  );
  // Without the zone the edge would shield no slot.
  expect(workers.get("sluice-edge")?.bindings).toContainEqual(
    expect.objectContaining({ name: "SLOT_ZONE", text: "example.com" }),
  );
  const [control, edge] = [secretsOf(cloudflare, "sluice-control"), secretsOf(cloudflare, "sluice-edge")];
  expect(Object.keys(control).sort()).toEqual([
    "ADMIN_TOKEN_SHA256",
    "CLOUDFLARE_API_TOKEN",
    "SECRETS_KEY",
    "SHIELD_KEY",
  ]);
  expect(control.SECRETS_KEY).toBe(desk.read("sluice/secrets-key"));
  expect(edge).toEqual({ SHIELD_KEY: control.SHIELD_KEY });

  const uploaded = await runUploaded(cloudflare.state, "sluice-control");
  onTestFinished(() => uploaded.dispose());
  const ask = async (path: string, bearer?: string) =>
    uploaded.dispatchFetch(
      `https://sluice.example.com${path}`,
      bearer ? { headers: { authorization: `Bearer ${bearer}` } } : {},
    );
  expect(await (await ask("/health")).json()).toMatchObject({
    status: "healthy",
    version: done.json.version,
  });
  expect((await ask("/api/v1/hosts", token)).status).toBe(200);
  expect((await ask("/api/v1/hosts", `${token}x`)).status).toBe(401);
});

test("makes the workers.dev subdomain that schedules need, and sends the edge no schedule", () => {
  expect(cloudflare.state.subdomain).toMatch(/^sluice-[0-9a-f]{10}$/);
  const schedules = changes(cloudflare.log).filter(({ path }) => path.includes("/schedules"));
  expect(schedules.map(({ path }) => path.replace(/.*scripts/, ""))).toEqual(["/sluice-control/schedules"]);
});

test("changes nothing when it is run again, from another machine too", async () => {
  const from = cloudflare.log.length;
  const again = await newDesk({ cloudflare, wrangler: wranglerIn }).setup();
  expect(again).toMatchObject({ exit: 0, stdout: "" });
  expect(again.said).toContain("nothing to change");
  expect(changes(cloudflare.log.slice(from))).toEqual([]);
});

test("deploys what an upgrade changes, and keeps every secret", { timeout: TIMEOUT_MS }, async () => {
  const secrets = () => ["sluice-control", "sluice-edge"].map((worker) => secretsOf(cloudflare, worker));
  const before = secrets();
  olden(cloudflare);
  // The edge's upgrade makes fewer of the same calls.
  isReal = (what) => what === "deploy sluice-control";
  const from = cloudflare.log.length;
  const upgraded = await desk.setup();
  expect(upgraded).toMatchObject({ exit: 0, stdout: "", json: { version: done.json.version } });
  expect(upgraded.said).toMatch(/deploy +Worker sluice-control .*: was 0\.0\.9\+old/);
  expect(secrets()).toEqual(before);
  const changed = changes(cloudflare.log.slice(from)).map(({ path }) => path);
  expect(changed.filter((path) => /d1|storage|secrets/.test(path))).toEqual([]);
});

/** After the upgrade of the test before, so that both have set up and upgraded. */
test("is stood in for faithfully: the quick wrangler changes what the real one changes", async () => {
  const quick = await emptyAccount();
  const other = newDesk({ cloudflare: quick });
  await other.setup();
  olden(quick);
  await other.setup();
  // The real one sends a Worker's triggers at once, so that any of them may come first.
  const calls = ({ log }: Cloudflare) =>
    changes(log)
      .map(({ method, path, status }) => `${status} ${method} ${path.replace(/\?.*/, "")}`)
      .toSorted();
  expect(calls(quick)).toEqual(calls(cloudflare));
});

/** As an older release would have left it. */
function olden({ state }: Cloudflare): void {
  for (const worker of state.workers.values())
    worker.bindings = worker.bindings.map((one) =>
      one.name === "VERSION" ? { ...one, text: "0.0.9+old" } : one,
    );
}

test("hands over a copy of the data before the data goes", { timeout: TIMEOUT_MS }, async () => {
  const cloudflare = await emptyAccount();
  const desk = newDesk({ cloudflare, wrangler: realFor((what) => what === "export sluice", cloudflare) });
  await desk.setup();
  const gone = await desk.teardown({ name: "sluice", yes: true, deleteData: true, export: "copy.sql" });
  expect(gone).toMatchObject({ exit: 0, said: expect.stringContaining("is exported to") });
  expect(desk.read("../../copy.sql")).toMatch(/CREATE TABLE `?hosts`?[\s\S]*0000_first\.sql/);
  expect(cloudflare.state.databases).toEqual([]);
});

test("says what wrangler said when wrangler fails", { timeout: TIMEOUT_MS }, async () => {
  const cloudflare = await emptyAccount();
  cloudflare.fail({ method: "PUT", path: "/workers/scripts/sluice-edge", answer: 403 });
  const wrangler = realFor((what) => what === "deploy sluice-edge", cloudflare);
  const desk = newDesk({ cloudflare, wrangler });
  expect((await desk.setup()).said).toContain("The API token lacks `Account › Workers Scripts › Edit`");
  cloudflare.fail({ method: "PUT", path: "/workers/scripts/sluice-edge", answer: 400 });
  const failed = await newDesk({ cloudflare }).setup();
  expect(failed).toMatchObject({ exit: 2, code: "cloudflare_refused" });
  expect(failed.said).toMatch(
    /wrangler could not deploy sluice-edge[\s\S]*Internal error \[code: 10001\][\s\S]*goes on where it stopped/,
  );
});
