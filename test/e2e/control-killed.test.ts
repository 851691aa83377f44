import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Load } from "../../local/load.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/**
 * Control (and with it, here, the edge) killed in the middle of a release and started again on the same state: the
 * release must end as if nothing had been, with nothing done twice, and visitors miss only the time without an edge.
 */
const APP = "hello";
let sluice: Installation;
let visitors: Load;
let version = 1;

beforeAll(async () => {
  sluice = await Installation.start({ slots: 20 });
  await sluice.deploy(APP, {}, "v1");
  visitors = sluice.visit(APP);
});

afterAll(() => sluice?.close());

/** hello, which writes down each of its starts. */
const counted = (file: string): AppOptions => ({
  command: ["sh", "-c", `echo "$SLUICE_INSTANCE" >> ${file}; exec node main.ts`],
  env: { BOOT_MS: "1200" },
});

const moments: [moment: string, states: ReleaseView["state"][]][] = [
  ["just created", ["queued", "preparing", "starting"]],
  ["starting", ["starting"]],
  ["being given the traffic", ["shifting", "settling"]],
  ["settling", ["settling"]],
];

test.each(moments)("a release that is %s when control is killed ends as it would have", async (_, states) => {
  version += 1;
  const label = `v${version}`;
  const starts = join(sluice.home.dir, `starts-${label}`);
  const at = { app: APP, environment: "production", idempotencyKey: `deploy-${label}` };
  await sluice.client.apps.apply(APP, sluice.manifest(APP, counted(starts)));
  const { id } = await sluice.client.releases.create(at, { version: label });
  await sluice.reaches(APP, label, states);
  await sluice.killStack();
  await expect(fetch(sluice.controlUrl)).rejects.toThrow();
  await expect(fetch(sluice.edgeUrl)).rejects.toThrow();
  await sluice.reviveStack();

  const release = await sluice.reaches(APP, label, ["live"]);
  expect(release.failure).toBeNull();
  const { environment } = await sluice.client.environments.get(APP, "production");
  expect(environment.split).toMatchObject([{ version: label, weight: 100, ready: 2 }]);
  const started = (await readFile(starts, "utf8")).trim().split("\n");
  expect(started.sort()).toEqual([`${id}-1`, `${id}-2`]);
  await expect.poll(() => visitors.lastSeen(label)).toBeDefined();
  expect(visitors.counts("there")).toMatchObject({ failed: 0, failures: [] });
  // The key is known after the death as before: the same release, not a second one.
  expect((await sluice.client.releases.create(at, { version: label })).id).toBe(id);
});
