import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import {
  containerConfig,
  containerName,
  runConfig,
  runName,
} from "../../../agent/runtime/docker/container.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { removeImages } from "../../../local/images.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { dockerTest, engine, freePort, theEngine } from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { imageWith, nodeImage } from "../images.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { runOf, specOf } from "../specs.ts";
import { answerOf } from "./runtime.contract.ts";

const run = promisify(execFile);
const id = Math.random().toString(36).slice(2, 10);
const host = `host-${id}`;
const network = `sluice-net-${id}`;
const volume = `sluice-vol-${id}`;

const walled = {
  volumes: [
    { source: volume, target: "/data", readOnly: false },
    { source: "/srv/shop", target: "/srv/shop", readOnly: true },
  ],
  container: {
    capabilities: ["NET_RAW", "CHOWN"],
    readOnly: true,
    tmpfs: ["/tmp"],
    ulimits: { nofile: 1024 },
    stopSignal: "SIGQUIT",
    shmBytes: 128 << 20,
  },
  network,
  resources: { cpus: 0.5, memoryBytes: 256 << 20, memoryReservationBytes: 128 << 20 },
};
/** What the engine is told of it, word for word. */
const hostConfig = {
  RestartPolicy: { Name: "no" },
  Init: true,
  SecurityOpt: ["no-new-privileges"],
  CapDrop: ["ALL"],
  CapAdd: ["CAP_NET_RAW", "CAP_CHOWN"],
  PidsLimit: 2048,
  ReadonlyRootfs: true,
  Mounts: [
    { Type: "volume", Source: volume, Target: "/data", ReadOnly: false },
    { Type: "bind", Source: "/srv/shop", Target: "/srv/shop", ReadOnly: true },
  ],
  Tmpfs: { "/tmp": "rw,noexec,nosuid,nodev,mode=1777" },
  Ulimits: [{ Name: "nofile", Soft: 1024, Hard: 1024 }],
  ShmSize: 128 << 20,
  NetworkMode: network,
  LogConfig: { Type: "json-file", Config: { "max-size": "1000000", "max-file": "2" } },
  NanoCpus: 500_000_000,
  Memory: 256 << 20,
  MemorySwap: 256 << 20,
  MemoryReservation: 128 << 20,
};

describe("a container", () => {
  test("is made as its spec says, to the word, and has no user but its image's", () => {
    const spec = specOf({ instance: "ins-1", image: "repo@sha256:abc", hostPort: 20_003, ...walled });
    const { Labels, ...config } = containerConfig(spec, "host-1");
    expect(config).toEqual({
      Image: "repo@sha256:abc",
      Env: [
        "PORT=3000",
        "SLUICE_RELEASE=rel-1",
        "SLUICE_VERSION=v1",
        "SLUICE_INSTANCE=ins-1",
        "SLUICE_PROCESS=web",
      ],
      ExposedPorts: { "3000/tcp": {} },
      StopTimeout: 5,
      StopSignal: "SIGQUIT",
      HostConfig: {
        PortBindings: { "3000/tcp": [{ HostIp: "127.0.0.1", HostPort: "20003" }] },
        ...hostConfig,
      },
    });
    expect(JSON.parse(Labels["sluice.spec"] ?? "")).toEqual(spec);
  });

  test("of a hook is walled in alike, without a port", () => {
    const spec = runOf({ run: "run-1", image: "repo@sha256:abc", command: ["migrate"], ...walled });
    const { Labels: _, ...config } = runConfig(spec, "host-1");
    expect(config).toEqual({
      Image: "repo@sha256:abc",
      Cmd: ["migrate"],
      Env: ["SLUICE_RELEASE=rel-1", "SLUICE_VERSION=v1", "SLUICE_HOOK=expand"],
      Healthcheck: { Test: ["NONE"] },
      StopSignal: "SIGQUIT",
      HostConfig: {
        ...hostConfig,
        LogConfig: { Type: "json-file", Config: { "max-size": "10000000", "max-file": "3" } },
      },
    });
  });

  test("without a word about its walls drops all capabilities but those a web image starts with", () => {
    const { HostConfig } = containerConfig(specOf({ instance: "i", image: "i", hostPort: 1 }), "host-1");
    expect(HostConfig).toEqual({
      PortBindings: { "3000/tcp": [{ HostIp: "127.0.0.1", HostPort: "1" }] },
      RestartPolicy: { Name: "no" },
      Init: true,
      SecurityOpt: ["no-new-privileges"],
      CapDrop: ["ALL"],
      CapAdd: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"].map(
        (name) => `CAP_${name}`,
      ),
      PidsLimit: 2048,
      ReadonlyRootfs: false,
      Mounts: [],
      LogConfig: { Type: "json-file", Config: { "max-size": "1000000", "max-file": "2" } },
    });
  });
});

/** Writes where it may and where it may not, and answers what came of it. */
const WRITER = `
  const fs = require("node:fs");
  const seen = {};
  for (const place of ["/root-file", "/data/kept", "/tmp/scratch"]) {
    try { fs.appendFileSync(place, process.env.SLUICE_VERSION + " "); seen[place] = fs.readFileSync(place, "utf8"); }
    catch (error) { seen[place] = error.code; }
  }
  require("node:http").createServer((q, s) => s.end(JSON.stringify(seen))).listen(process.env.PORT);`;

describe.skipIf(!engine)("docker", () => {
  const runtime = createDockerRuntime({ host, localImages: true, admits: async () => undefined });
  const started: string[] = [];
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "sluice-housing-"));
  });
  afterEach(async () => {
    for (const instance of started.splice(0)) await runtime.stop(instance, 0);
  });
  afterAll(async () => {
    await theEngine()
      .bytes("DELETE", `/volumes/${volume}`)
      .catch(() => {}); // made by the test that is about it
    for (const name of [network, `${network}-foreign`])
      await theEngine()
        .bytes("DELETE", `/networks/${name}`)
        .catch(() => {}); // as above
    await rm(directory, { recursive: true, force: true });
  });

  async function newSpec(over: Partial<InstanceSpec>): Promise<InstanceSpec> {
    const instance = `${id}-${started.length}-${Math.random().toString(36).slice(2, 6)}`;
    started.push(instance);
    return specOf({
      instance,
      image: await nodeImage(),
      hostPort: await freePort(),
      command: nodeCommand("good"),
      ...over,
    });
  }

  dockerTest("takes nothing for its own that only an image's labels call so", async () => {
    const claims = { instance: "other", run: "r", accessory: "a", app: "b", spec: "{}", cloudflared: "h" };
    const lines = Object.entries(claims).map(
      ([name, value]) => `LABEL sluice.${name}=${JSON.stringify(value)}`,
    );
    const image = await imageWith("labelled", { lines: [...lines, `LABEL sluice.host=${host}`] });
    // By itself, beside us; as an instance; and as a hook, which is no instance.
    const beside = `beside-${id}`;
    await theEngine().bytes("POST", "/containers/create", {
      query: { name: beside },
      json: { Image: image },
    });
    const spec = await newSpec({ image });
    expect(await runtime.start(spec)).toMatchObject({ ok: true });
    const hook = runOf({ run: `${id}-labelled`, image, command: ["true"] });
    expect(await runtime.runs.start(hook)).toMatchObject({ ok: true });
    try {
      const listed = await runtime.list();
      expect(listed.ok && listed.value.map(({ instance }) => instance)).toEqual([spec.instance]);
      const path = `/containers/${containerName(spec.instance)}/json`;
      const { Labels } = JSON.parse((await theEngine().bytes("GET", path)).toString("utf8")).Config;
      expect(Labels).toMatchObject({ "sluice.run": "", "sluice.accessory": "", "sluice.cloudflared": "" });
      expect(Labels["sluice.app"]).toBe("hello");
    } finally {
      await runtime.runs.remove(hook.run);
      await theEngine().bytes("DELETE", `/containers/${beside}`, { query: { force: "1" } });
      await runtime.stop(spec.instance, 0);
      await removeImages(theEngine(), ["sluice-test:labelled"]);
    }
  });

  dockerTest("has a container as its spec says", async () => {
    const image = await imageWith("user", { lines: ["USER 1000:1000"] });
    const shop = path.join(directory, "shop");
    await mkdir(shop);
    const volumes = walled.volumes.map((mount) => ({
      ...mount,
      source: mount.source === volume ? volume : shop,
    }));
    const spec = await newSpec({ image, ...walled, volumes });
    expect(await runtime.start(spec)).toMatchObject({ ok: true });
    await answerOf(spec);
    // What `docker inspect` prints.
    const inspected = `/containers/${containerName(spec.instance)}/json`;
    const found = JSON.parse((await theEngine().bytes("GET", inspected)).toString("utf8"));
    const mounts = hostConfig.Mounts.map((mount) => ({
      ...mount,
      Source: mount.Type === "bind" ? shop : volume,
      // Left out by the engine where it is false.
      ReadOnly: mount.ReadOnly || undefined,
    }));
    expect(found.HostConfig).toMatchObject({ ...hostConfig, Mounts: JSON.parse(JSON.stringify(mounts)) });
    expect(found.HostConfig).toMatchObject({ Privileged: false, PidMode: "", UsernsMode: "" });
    expect(found.Config).toMatchObject({ User: "1000:1000", StopSignal: "SIGQUIT", StopTimeout: 5 });
    expect(found.Mounts).toContainEqual(expect.objectContaining({ Destination: "/data", RW: true }));
    expect(found.Mounts).toContainEqual(expect.objectContaining({ Destination: "/srv/shop", RW: false }));
  });

  dockerTest("marks volumes and networks as this host's, and leaves both when instances go", async () => {
    const spec = await newSpec({ network, volumes: [{ source: volume, target: "/data", readOnly: false }] });
    await runtime.start(spec);
    await runtime.stop(spec.instance, 0);
    const labels = z.object({ Labels: z.record(z.string(), z.string()) });
    const expected = {
      Labels: { "sluice.host": host, "sluice.app": "hello", "sluice.environment": "production" },
    };
    expect(await theEngine().json(labels, "GET", `/networks/${network}`)).toEqual(expected);
    expect(await theEngine().json(labels, "GET", `/volumes/${volume}`)).toMatchObject({
      Labels: { "sluice.app": "hello" },
    });
  });

  dockerTest("keeps an app from its root, and its volume's file over a new release", async () => {
    const housing = {
      command: ["node", "-e", WRITER],
      container: { ...walled.container, capabilities: [], stopSignal: "SIGTERM" },
      volumes: [{ source: `${volume}-kept`, target: "/data", readOnly: false }],
    };
    const first = await newSpec({ ...housing, version: "v1" });
    await runtime.start(first);
    expect(JSON.parse(await answerOf(first))).toEqual({
      "/root-file": "EROFS",
      "/data/kept": "v1 ",
      "/tmp/scratch": "v1 ",
    });
    const second = await newSpec({ ...housing, version: "v2", release: "rel-2" });
    await runtime.start(second);
    expect(JSON.parse(await answerOf(second))).toEqual({
      "/root-file": "EROFS",
      "/data/kept": "v1 v2 ",
      "/tmp/scratch": "v2 ",
    });
    await runtime.stop(first.instance, 0);
    await runtime.stop(second.instance, 0);
    await theEngine().bytes("DELETE", `/volumes/${volume}-kept`);
  });

  dockerTest("names a host directory that is missing, and makes none", async () => {
    const missing = path.join(directory, "no-such");
    const volumes = [{ source: missing, target: "/data", readOnly: false }];
    const error = { code: "start_failed", message: expect.stringContaining(`${missing} does not exist`) };
    const spec = await newSpec({ volumes });
    expect(await runtime.start(spec)).toMatchObject({ ok: false, error });
    const hook = runOf({ run: `${id}-bind`, image: spec.image, command: ["true"], volumes });
    expect(await runtime.runs.start(hook)).toMatchObject({ ok: false, error });
    await expect(stat(missing)).rejects.toThrow("ENOENT");
  });

  dockerTest("lets instances of a private network meet by address, still published on loopback", async () => {
    const [one, other] = [await newSpec({ network }), await newSpec({ network })];
    // Both at once: the network is made once.
    await Promise.all([runtime.start(one), runtime.start(other)]);
    await answerOf(one);
    await answerOf(other);
    expect(await runtime.listens(one)).toBe(true);
    const silent = await newSpec({ network, command: nodeCommand("silent") });
    await runtime.start(silent);
    expect(await runtime.listens(silent)).toBe(false);
    const named = await theEngine().json(z.array(z.object({ Name: z.string() })), "GET", "/networks");
    expect(named.filter(({ Name }) => Name === network)).toHaveLength(1);
  });

  dockerTest("joins no network that somebody else made", async () => {
    const foreign = `${network}-foreign`;
    await theEngine().bytes("POST", "/networks/create", { json: { Name: foreign, Driver: "bridge" } });
    for (const name of [foreign, "host"]) {
      const spec = await newSpec({ network: name });
      expect(await runtime.start(spec)).toMatchObject({
        ok: false,
        error: { code: "start_failed", message: expect.stringContaining("no Sluice agent made it") },
      });
    }
  });

  dockerTest("gives a hook the volume and the network of its environment", async () => {
    const script = `require("node:fs").writeFileSync("/data/migrated", "yes"); console.log(Object.keys(require("node:os").networkInterfaces()).join())`;
    const spec = runOf({
      run: `${id}-housed`,
      image: await nodeImage(),
      command: ["node", "-e", script],
      network,
      volumes: [{ source: volume, target: "/data", readOnly: false }],
    });
    expect(await runtime.runs.start(spec)).toMatchObject({ ok: true });
    expect(await runtime.runs.waitExit(spec.run, AbortSignal.timeout(60_000))).toEqual({ exitCode: 0 });
    const joined = z.object({
      NetworkSettings: z.object({ Networks: z.record(z.string(), z.unknown()) }),
    });
    const found = await theEngine().json(joined, "GET", `/containers/${runName(spec.run)}/json`);
    expect(Object.keys(found.NetworkSettings.Networks)).toEqual([network]);
    await runtime.runs.remove(spec.run);
    const reader = `require("node:http").createServer((q, s) => s.end(require("node:fs").readFileSync("/data/migrated"))).listen(process.env.PORT)`;
    const app = await newSpec({ command: ["node", "-e", reader], volumes: spec.volumes });
    await runtime.start(app);
    expect(await answerOf(app)).toBe("yes");
  });
});

describe.skipIf(!engine)("an app that dies at its walls", () => {
  let bench: AgentBench;
  beforeAll(async () => {
    bench = await agentBench({ runtime: createDockerRuntime({ host: `${host}-walls`, localImages: true }) });
  });
  afterAll(() => bench.close());

  async function causeOf(over: Partial<InstanceSpec>): Promise<string> {
    const instance = `${id}-${Math.random().toString(36).slice(2, 8)}`;
    const spec = specOf({ instance, image: await nodeImage(), hostPort: await freePort(), ...over });
    bench.control.give({ id: instance, kind: "start", spec });
    const result = await bench.control.result(instance);
    if (result.ok) throw new Error("it did not fail");
    return result.error.message;
  }
  const script = (text: string) => ["node", "-e", text];
  const plain = { readOnly: false, tmpfs: [], ulimits: {} };

  dockerTest("is told which list to add to when it was given too few capabilities", async () => {
    const command = script('require("node:fs").chownSync("/etc/passwd", 5, 5)');
    const message = await causeOf({ command, container: { ...plain, capabilities: ["NET_BIND_SERVICE"] } });
    expect(message).toContain("capabilities of its manifest only (NET_BIND_SERVICE)");
    expect(message).toContain("add the one it needs to container.capabilities");
    expect(await causeOf({ command: script('console.error("permission denied"); process.exit(1)') })).toBe(
      "hello v1 exited with code 1 before it was ready",
    );
  });

  dockerTest("is told that its root is read-only, and what to give it", async () => {
    const command = script('require("node:fs").writeFileSync("/app.pid", "1")');
    const message = await causeOf({ command, container: { ...plain, readOnly: true } });
    expect(message).toContain("its root is read-only (container.readOnly)");
    expect(message).toContain("container.tmpfs");
  });

  dockerTest("is told when its program is for another kind of machine", async () => {
    const image = "sluice-test:strange";
    await theEngine().bytes("POST", "/images/load", { tar: await imageFor("arm64", image) });
    const message = await causeOf({ image, command: ["/strange"] });
    await removeImages(theEngine(), [image]);
    expect(message).toContain("the image is for linux/arm64, and this host is linux/");
  });
});

/** An image for another kind of machine, as `docker save` writes one: with a program that nothing here can execute. */
async function imageFor(architecture: string, tag: string): Promise<Buffer> {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-strange-"));
  const write = (name: string, value: unknown) =>
    writeFile(path.join(directory, name), JSON.stringify(value));
  await writeFile(path.join(directory, "strange"), "\x7fELF\x02\x01\x01", { mode: 0o755 });
  await run("tar", ["-cf", "layer.tar", "strange"], { cwd: directory });
  const layer = await readFile(path.join(directory, "layer.tar"));
  const diff = `sha256:${createHash("sha256").update(layer).digest("hex")}`;
  const rootfs = { type: "layers", diff_ids: [diff] };
  await write("config.json", { architecture, os: "linux", config: {}, rootfs });
  await write("manifest.json", [{ Config: "config.json", RepoTags: [tag], Layers: ["layer.tar"] }]);
  await run("tar", ["-cf", "image.tar", "layer.tar", "config.json", "manifest.json"], { cwd: directory });
  const image = await readFile(path.join(directory, "image.tar"));
  await rm(directory, { recursive: true });
  return image;
}
