import { afterAll, beforeAll, expect } from "vitest";
import { baseImage, helloImage, removeImages, variantImage } from "../../local/images.ts";
import type { Load } from "../../local/load.ts";
import { nodeCommand } from "../agent/apps.ts";
import { dockerTest, engine, freePort } from "../support/engine/docker.ts";
import { Installation } from "../support/stack/installation.ts";

/** Images that can't be had or don't hold: with a real engine, while visitors use the release before. */
const APP = "hello";
const GOOD = `sluice-e2e-${process.pid}:good`;
const EXITS = `sluice-e2e-${process.pid}:exits`;
let sluice: Installation;
let visitors: Load;

beforeAll(async () => {
  if (!engine) return;
  await helloImage(engine, { tag: GOOD });
  const lines = [`CMD ${JSON.stringify(nodeCommand("exits"))}`];
  await variantImage(engine, { from: await baseImage(engine), tag: EXITS, lines });
  sluice = await Installation.start({ hosts: 1, runtime: "docker" });
  await sluice.deploy(APP, { image: GOOD, replicas: 1 }, "v1");
  visitors = sluice.visit(APP);
});

afterAll(async () => {
  await sluice?.close();
  if (engine) await removeImages(engine, [GOOD, EXITS]);
});

/** Deploys what can't work; answers the CLI's words. */
async function deployBad(image: string, version: string): Promise<string> {
  const ran = await sluice.sluice(APP, { image: GOOD }, ["deploy", "--image", image, "--version", version]);
  expect(ran).toMatchObject({ code: 3 });
  expect(ran.stderr).toContain("traffic now  v1 serves 100% (1 of 1 instance ready)");
  expect(visitors.counts("there").requests).toBeGreaterThan(0);
  expect(visitors.counts("there")).toMatchObject({ failed: 0, failures: [] });
  return ran.stderr;
}

dockerTest("an image that can't be pulled is refused with the engine's words", async () => {
  const image = `127.0.0.1:${await freePort()}/shop:v2`;
  const words = await deployBad(image, "unpullable");
  expect(words).toContain(image);
  expect(words).toMatch(/connection refused/);
});

dockerTest(
  "a container that exits at once is refused with its exit code and last lines, and removed",
  async () => {
    const words = await deployBad(EXITS, "exits");
    expect(words).toContain("exited with code 3");
    expect(words).toMatch(/the app's last lines:\n(.*\n)+? +\| no database/);
    await expect.poll(async () => (await sluice.running()).size, { timeout: 90_000 }).toBe(1);
  },
);
