import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import { createDockerRuntime } from "../../agent/runtime/docker/docker.ts";
import { createProcessRuntime } from "../../agent/runtime/process/process.ts";
import type { Runtime } from "../../agent/runtime/runtime.ts";
import { removeImages } from "../../local/images.ts";
import { specOf } from "../agent/specs.ts";
import { engine, freePort, theEngine } from "../support/engine/docker.ts";
import { shopDirectory, shopImage } from "../support/shop/shop.ts";
import { type ShopEnv, shopTest, useShops } from "../support/shop/shop-stand.ts";

const stand = useShops([2]);
const never = new AbortController().signal;
const containerTest = engine ? shopTest : test.skip;

/** Starts the shop under a runtime, has it serve, stops it; answers what `look` saw in between. */
async function serve<T>(runtime: Runtime, image: string, { env, look }: Serving<T>): Promise<T> {
  const instance = `shop-${Math.random().toString(36).slice(2, 10)}`;
  const spec = specOf({ instance, image, hostPort: await freePort(), app: "shop", version: "v2", env });
  const started = await runtime.start(spec);
  expect(started).toMatchObject({ ok: true });
  try {
    const url = `http://127.0.0.1:${spec.hostPort}`;
    const isHealthy = async () =>
      expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: "healthy", version: "v2" });
    await vi.waitFor(isHealthy, { timeout: 25_000, interval: 50 });
    return await look(url, instance);
  } finally {
    // In order, within its grace.
    expect(await runtime.stop(instance, 10_000)).toMatchObject({ ok: true, value: { killed: false } });
  }
}

interface Serving<T> {
  env: ShopEnv;
  look: (url: string, instance: string) => Promise<T>;
}

shopTest("runs under the process runtime from its bundle alone", async () => {
  const env = await stand.newEnv();
  await stand.migrate(2, "expand", env);
  const root = await mkdtemp(path.join(tmpdir(), "sluice-shop-"));
  try {
    await shopDirectory(root, 2);
    await mkdir(path.join(root, "records"));
    const runtime = createProcessRuntime({ root, directory: path.join(root, "records") });
    const pulled = await runtime.pull({ image: "file:step-2" }, () => {}, never);
    if (!pulled.ok) throw new Error(JSON.stringify(pulled.error));
    const look = async (url: string) => (await fetch(url)).text();
    expect(await serve(runtime, pulled.value.image, { env, look })).toContain("step 2");
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});

const containerSchema = z.object({ Config: z.object({ User: z.string(), Cmd: z.array(z.string()) }) });

containerTest(
  "runs under Docker as nobody special, passes its HEALTHCHECK, and leaves in order",
  async () => {
    const env = await stand.newEnv();
    await stand.migrate(2, "expand", env);
    const tag = "sluice-test:shop";
    const image = await shopImage(theEngine(), { tag, step: 2 });
    try {
      const runtime = createDockerRuntime({ host: "shop-image-test", localImages: true });
      const look = async (_url: string, instance: string) => runtime.imageHealth(instance, never);
      const health = await serve(runtime, image, { env: stand.inContainer(env), look });
      expect(health).toMatchObject({ state: "healthy", output: "GET /health answered 200" });
      const { Config } = await theEngine().json(containerSchema, "GET", `/images/${image}/json`);
      expect(Config).toEqual({ User: "node", Cmd: ["node", "main.js"] });
    } finally {
      await removeImages(theEngine(), [tag, "sluice-shop:step-2"]);
    }
  },
);
