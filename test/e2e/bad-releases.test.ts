import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import type { Load } from "../../local/load.ts";
import { type apps, nodeCommand } from "../agent/apps.ts";
import { ask } from "../support/http-client.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/** Releases that go wrong, while visitors use the one before: none of them may notice. */
const APP = "hello";
let sluice: Installation;
let visitors: Load;
let label = 1;

beforeAll(async () => {
  sluice = await Installation.start();
  await sluice.deploy(APP, {}, "v1");
  visitors = sluice.visit(APP);
});

afterEach(async () => {
  const { environment } = await sluice.client.environments.get(APP, "production");
  expect(environment.split).toMatchObject([{ version: "v1", weight: 100, ready: 2 }]);
  const { requests, failed, failures } = visitors.counts("there");
  expect(requests).toBeGreaterThan(0);
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
});

afterAll(() => sluice?.close());

const resultSchema = z.object({
  outcome: z.string(),
  release: z.object({ failure: z.object({ code: z.string(), logs: z.array(z.string()) }) }),
});

/** Deploys what can't work; answers the CLI's words and its JSON. */
async function deployBad(options: AppOptions) {
  label += 1;
  const args = ["deploy", "--apply", "--version", `bad-${label}`, "--json"];
  const ran = await sluice.sluice(APP, { deadline: "2s", ...options }, args);
  expect(ran).toMatchObject({ code: 3 });
  const { outcome, release } = resultSchema.parse(JSON.parse(ran.stdout));
  expect(outcome).toBe("failed");
  expect(ran.stderr).toContain("traffic now  v1 serves 100% (2 of 2 instances ready)");
  return { words: ran.stderr, failure: release.failure };
}

test("an app that exits at once is refused with its exit code and its last lines", async () => {
  const { words, failure } = await deployBad({ command: nodeCommand("exits") });
  expect(failure.code).toBe("exited");
  expect(failure.logs.at(-1)).toBe("no database");
  expect(words).toContain("exited with code 3 before it was ready");
  expect(words).toMatch(/the app's last lines:\n(.*\n)+? +\| no database/);
});

test("an image that does not exist is refused before anything starts", async () => {
  const before = await sluice.running();
  const { words, failure } = await deployBad({ image: "file:no-such-app" });
  expect(failure.code).toBe("image_not_found");
  expect(words).toContain("no-such-app");
  expect(await sluice.running()).toEqual(before);
});

const unhealthy: [promise: string, app: keyof typeof apps, code: string, words: RegExp][] = [
  ["never opens its port", "silent", "port_closed", /nothing listened on port \d+ for 2 s/],
  ["answers its health check 503", "status", "health_status", /answered 503 \(wanted 2xx\): no database/],
  ["answers its health check with a redirect", "redirect", "health_redirect", /302 to https:\/\/login\.exa/],
  ["lets its health check hang", "hangs", "health_timeout", /gave no answer within 500 ms/],
];

test.each(unhealthy)("an app that %s is refused with that cause", async (_, app, code, expected) => {
  const { words, failure } = await deployBad({ command: nodeCommand(app) });
  expect(failure.code).toBe(code);
  expect(words).toMatch(expected);
});

test("what was refused leaves nothing running", async () => {
  await expect.poll(() => sluice.running().then(({ size }) => size), { timeout: 90_000 }).toBe(2);
});

test("a release that needs more slots than the hosts have is refused, and says how many", async () => {
  const args = ["deploy", "--apply", "--version", "wide"];
  const ran = await sluice.sluice(APP, { replicas: 50 }, args);
  expect(ran).toMatchObject({ code: 2 });
  expect(ran.stderr).toMatch(/slot/);
});

test("a hostname of another app is refused, and says whose it is", async () => {
  const ran = await sluice.sluice("thief", { hostnames: ["hello.localhost"] }, ["apply"]);
  expect(ran).toMatchObject({ code: 2 });
  expect(ran.stderr).toMatch(/hello\.localhost.*hello/s);
});

test.each([
  ["do not sum to 100", { v1: 60 }, "weights_invalid"],
  ["name a release that is dead", { "bad-2": 100 }, "release_not_serving"],
  ["name a release that never was", { v99: 100 }, "weights_invalid"],
])("weights that %s are refused", async (_, weights, code) => {
  const set = sluice.client.environments.setWeights({ app: APP, environment: "production" }, weights);
  await expect(set).rejects.toMatchObject({ problem: { code } });
});

test("an app that minds its name and its scheme goes live, and visitors reach it by its name", async () => {
  await sluice.deploy("strict", { command: nodeCommand("strict"), replicas: 1 }, "v1");
  const port = Number(new URL(sluice.edgeUrl).port);
  const host = `strict.localhost:${port}`;
  expect(await ask({ port, host })).toMatchObject({ status: 200, text: host });
});
