import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { containerConfig, runConfig } from "../../../agent/runtime/docker/container.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { createEngine } from "../../../agent/runtime/docker/engine.ts";
import { removeImages, variantImage } from "../../../local/images.ts";
import {
  dockerTest,
  engine,
  freePort,
  hasRegistry,
  missingEngine,
  type Registry,
  startRegistry,
  theEngine,
} from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { imageWith, nodeImage } from "../images.ts";
import { collect, logsContract, numbered } from "../logs/logs.contract.ts";
import { runOf, specOf } from "../specs.ts";
import { runsContract } from "./runs.contract.ts";
import { answerOf, runtimeContract } from "./runtime.contract.ts";

const host = `host-${Math.random().toString(36).slice(2, 10)}`;
const open = async () => createDockerRuntime({ host, localImages: true });
if (missingEngine) console.warn(`SKIPPED: ${missingEngine}`);

const never = new AbortController().signal;
const quiet = () => {};

const setup = {
  open,
  image: nodeImage,
  missingImage: `sha256:${"0".repeat(64)}`,
  unavailable: !engine,
};
runtimeContract("docker", dockerTest, setup);
runsContract("docker", dockerTest, setup);
logsContract("docker", dockerTest, setup);

describe("docker runtime, on its own", () => {
  test("publishes on loopback only, drops capabilities, and leaves restarts to the agent", () => {
    const spec = specOf({
      instance: "ins-1",
      image: "repo@sha256:abc",
      hostPort: 20_003,
      env: { KEY: "value" },
      resources: { cpus: 0.5, memoryBytes: 256_000_000 },
    });
    expect(containerConfig(spec, "host-1")).toMatchObject({
      Image: "repo@sha256:abc",
      Env: [
        "KEY=value",
        "PORT=3000",
        "SLUICE_RELEASE=rel-1",
        "SLUICE_VERSION=v1",
        "SLUICE_INSTANCE=ins-1",
        "SLUICE_PROCESS=web",
      ],
      Labels: {
        "sluice.host": "host-1",
        "sluice.instance": "ins-1",
        "sluice.fence": "1",
        "sluice.version": "v1",
      },
      HostConfig: {
        PortBindings: { "3000/tcp": [{ HostIp: "127.0.0.1", HostPort: "20003" }] },
        RestartPolicy: { Name: "no" },
        Init: true,
        SecurityOpt: ["no-new-privileges"],
        CapDrop: ["ALL"],
        LogConfig: { Type: "json-file", Config: { "max-size": "1000000", "max-file": "2" } },
        NanoCpus: 500_000_000,
        Memory: 256_000_000,
        MemorySwap: 256_000_000,
      },
    });
  });

  test("walls a hook in as it does an instance, gives it no port, and says whose it is", () => {
    const spec = runOf({
      run: "run-1",
      image: "repo@sha256:abc",
      command: ["migrate"],
      env: { KEY: "value" },
      resources: { memoryBytes: 256_000_000 },
    });
    const config = runConfig(spec, "host-1");
    expect(config).toMatchObject({
      Cmd: ["migrate"],
      Env: ["KEY=value", "SLUICE_RELEASE=rel-1", "SLUICE_VERSION=v1", "SLUICE_HOOK=expand"],
      Labels: {
        "sluice.run": "run-1",
        "sluice.release": "rel-1",
        "sluice.app": "hello",
        "sluice.environment": "production",
      },
      HostConfig: {
        RestartPolicy: { Name: "no" },
        SecurityOpt: ["no-new-privileges"],
        CapDrop: ["ALL"],
        Memory: 256_000_000,
      },
    });
    expect(JSON.stringify(config)).not.toMatch(/PortBindings|ExposedPorts|"sluice\.instance":"[^"]|"KEY":/);
  });

  dockerTest("says of a hook that was created, but not begun, that it never started", async () => {
    const runtime = await open();
    const spec = runOf({ run: `${host}-unbegun`, image: await nodeImage(), command: ["true"] });
    const name = "sluice.run-";
    await theEngine().bytes("POST", "/containers/create", {
      query: { name: `${name}${spec.run}` },
      json: runConfig(spec, host),
    });
    expect(await runtime.runs.find(spec.run)).toEqual({ ok: true, value: "unstarted" });
    expect(await runtime.runs.waitExit(spec.run, never)).toEqual({ unstarted: true });
    await runtime.runs.remove(spec.run);
  });

  test("keeps an app's variables out of the labels, which everybody may read", () => {
    const spec = specOf({ instance: "ins-1", image: "i", hostPort: 20_003, env: { KEY: "the-secret" } });
    expect(JSON.stringify(containerConfig(spec, "host-1").Labels)).not.toContain("the-secret");
  });

  test("says where it looked when no engine answers", async () => {
    const away = createDockerRuntime({
      host,
      engine: createEngine("unix:///no/such/docker.sock"),
      backWithinMs: 0,
    });
    const spec = specOf({ instance: "ins-1", image: `sha256:${"0".repeat(64)}`, hostPort: 20_003 });
    const expected = {
      ok: false,
      error: { code: "runtime_unavailable", message: expect.stringContaining("/no/such/docker.sock") },
    };
    expect(await away.list()).toMatchObject(expected);
    expect(await away.start(spec)).toMatchObject(expected);
    expect(await away.stop("ins-1", 0)).toMatchObject(expected);
    expect(await away.pull({ image: "nginx:1" }, quiet, never)).toMatchObject(expected);
  });

  dockerTest("sees only the containers of its own host", async () => {
    const spec = specOf({
      instance: `${host}-own`,
      image: await nodeImage(),
      hostPort: await freePort(),
      command: nodeCommand("good"),
    });
    const mine = await open();
    await mine.start(spec);
    const other = createDockerRuntime({ host: "another-host" });
    expect(await other.list()).toEqual({ ok: true, value: [] });
    await mine.stop(spec.instance, 0);
  });

  dockerTest("tells an accessory's stdout from its stderr, and reads one with a terminal", async () => {
    const script =
      'console.log("out"); console.error("err"); console.log("\\u00e9".repeat(20000)); console.log("last");';
    for (const tty of [false, true]) {
      const accessory = `${host}-tty-${tty}`;
      const name = `sluice.acc-${accessory}`;
      const json = { Image: await nodeImage(), Cmd: ["node", "-e", script], Tty: tty };
      await theEngine().bytes("POST", "/containers/create", { query: { name }, json });
      await theEngine().bytes("POST", `/containers/${name}/start`);
      await theEngine().bytes("POST", `/containers/${name}/wait`);
      const lines = await collect((await open()).follow({ accessory }, { follow: false }, never));
      const bare = lines.map(({ stream, text }) => `${stream} ${text.slice(0, 8)}`).sort();
      const err = tty ? "stdout err" : "stderr err";
      expect(bare).toEqual([err, "stdout last", "stdout out", `stdout ${"\u00e9".repeat(8)}`]);
      await theEngine().bytes("DELETE", `/containers/${name}`, { query: { force: "1" } });
    }
  });

  dockerTest("follows a log across its rotations without a line lost or repeated", async () => {
    const runtime = await open();
    const script =
      'let n = 0; setInterval(() => { if (n < 3000) for (let i = 0; i < 100; i++) console.log("line " + ++n); }, 20)';
    const spec = specOf({
      instance: `${host}-rotating`,
      image: await nodeImage(),
      hostPort: await freePort(),
      command: ["node", "-e", script],
      logging: { maxSizeBytes: 50_000, maxFiles: 20 },
    });
    await runtime.start(spec);
    const seen: string[] = [];
    for await (const item of runtime.follow({ instance: spec.instance }, { follow: true }, never)) {
      if ("text" in item) seen.push(item.text);
      if (seen.at(-1) === "line 3000") break;
    }
    await runtime.stop(spec.instance, 0);
    expect(seen).toEqual(numbered(3_000));
  });

  dockerTest("says that memory ran out when the kernel ended the app", async () => {
    const runtime = await open();
    const spec = specOf({
      instance: `${host}-hog`,
      image: await nodeImage(),
      hostPort: await freePort(),
      command: nodeCommand("hog"),
      resources: { memoryBytes: 96 << 20 },
    });
    await runtime.start(spec);
    const exit = await runtime.waitExit(spec.instance, AbortSignal.timeout(90_000));
    await runtime.stop(spec.instance, 0);
    expect(exit).toMatchObject({ signal: "OOMKilled" });
  });

  dockerTest(
    "runs the image's HEALTHCHECK at once instead of waiting for Docker's first interval",
    async () => {
      const runtime = await open();
      const script = 'process.exit(require("node:fs").existsSync("/tmp/well") ? 0 : 1)';
      const check = `HEALTHCHECK --interval=60s CMD ["node", "-e", ${JSON.stringify(`console.log("looked"); ${script}`)}]`;
      const image = await imageWith("checked", { lines: [check] });
      const app =
        'require("node:http").createServer((q, s) => { require("node:fs").writeFileSync("/tmp/well", ""); s.end(); }).listen(process.env.PORT)';
      const spec = specOf({
        instance: `${host}-check`,
        image,
        hostPort: await freePort(),
        command: ["node", "-e", app],
      });
      await runtime.start(spec);
      expect(await runtime.imageHealth(spec.instance, never)).toEqual({ state: "failing", output: "looked" });
      await answerOf(spec);
      expect(await runtime.imageHealth(spec.instance, never)).toMatchObject({ state: "healthy" });
      await runtime.stop(spec.instance, 0);
    },
  );

  dockerTest("takes an image that only this engine has, by its tag, when told to", async () => {
    // Of its own: another test's image may be in a registry meanwhile, and would be no longer only here.
    const id = await imageWith("only-here", { lines: ["LABEL only=here"] });
    const local = await open();
    const found = { ok: true, value: { image: id, digest: id } };
    expect(await local.pull({ image: "sluice-test:only-here" }, quiet, never)).toEqual(found);
    // As control pins it.
    const image = `sluice-test@${id}`;
    expect(await local.pull({ image }, quiet, never)).toEqual(found);
    const spec = specOf({ instance: `${host}-local`, image, hostPort: await freePort() });
    expect(await local.start(spec)).toMatchObject({ ok: true });
    await local.stop(spec.instance, 0);
  });

  dockerTest(
    "takes nothing for an image of a repository that the engine never pulled from there",
    async () => {
      const strict = createDockerRuntime({ host });
      const image = `sluice-test@${await nodeImage()}`;
      const spec = specOf({ instance: `${host}-strict`, image, hostPort: await freePort() });
      expect(await strict.start(spec)).toMatchObject({ ok: false, error: { code: "image_not_found" } });
    },
  );
});

describe.skipIf(!engine || !hasRegistry)("docker runtime and a registry", () => {
  let registry: Registry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry.close());

  test("downloads a tag, pins it by the registry's digest, and runs it by that", async () => {
    const runtime = await open();
    // Of one small file: what it runs is only the init the agent asks for, and that ends at once.
    const tiny = `sluice-test:tiny-${process.pid}`;
    await variantImage(theEngine(), { from: "scratch", tag: tiny, lines: ["COPY Dockerfile /"] });
    const digest = await registry.push(tiny, "app:v1");
    await removeImages(theEngine(), [tiny, `${registry.address}/app:v1`]);
    const image = `${registry.address}/app@${digest}`;
    expect(await runtime.start(specOf({ instance: `${host}-early`, image, hostPort: 1 }))).toMatchObject({
      ok: false,
      error: { code: "image_not_found" },
    });
    const pulled = await runtime.pull({ image: `${registry.address}/app:v1` }, quiet, never);
    expect(pulled).toEqual({ ok: true, value: { image, digest, downloaded: true } });
    expect(await runtime.pull({ image }, quiet, never)).toEqual({ ok: true, value: { image, digest } });
    const again = await runtime.pull({ image: `${registry.address}/app:v1` }, quiet, never);
    expect(again).toEqual({ ok: true, value: { image, digest } });
    const spec = specOf({
      instance: `${host}-pulled`,
      image,
      hostPort: await freePort(),
      command: ["/nothing"],
    });
    expect(await runtime.start(spec)).toMatchObject({ ok: true });
    expect(await runtime.waitExit(spec.instance, AbortSignal.timeout(60_000))).toEqual({ exitCode: 127 });
    await runtime.stop(spec.instance, 0);
    await removeImages(theEngine(), [image]);
  });

  test.each(["app:no-such-tag", "no-such-app:v1", `app@sha256:${"1".repeat(64)}`])(
    "says that the registry has no %s",
    async (name) => {
      const outcome = await (await open()).pull({ image: `${registry.address}/${name}` }, quiet, never);
      expect(outcome).toMatchObject({ ok: false, error: { code: "image_not_found" } });
      expect(JSON.stringify(outcome)).toContain(registry.address);
    },
  );

  test("tells a registry that wants a login from one that has no such image", async () => {
    const closed = http.createServer((_request, response) => {
      response.writeHead(401, { "www-authenticate": 'Basic realm="private"' });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    });
    const address = await listening(closed);
    const outcome = await (await open()).pull({ image: `${address}/app:v1` }, quiet, never);
    closed.close();
    expect(outcome).toMatchObject({
      ok: false,
      error: { code: "image_unauthorized", message: expect.stringContaining(`docker login ${address}`) },
    });
  });

  test("says that the registry can't be reached", async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const outcome = await (await open()).pull({ image: `${address}/app:v1` }, quiet, never);
    expect(outcome).toMatchObject({
      ok: false,
      error: {
        code: "image_pull_failed",
        message: expect.stringContaining(`can't reach the registry ${address}`),
      },
    });
  });
});

function listening(server: http.Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}
