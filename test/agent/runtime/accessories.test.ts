import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import { z } from "zod";
import { failed } from "../../../agent/outcome.ts";
import { accessoryConfig, accessoryName, asideName } from "../../../agent/runtime/docker/accessory.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { createProcessRuntime } from "../../../agent/runtime/process/process.ts";
import type { AccessoryOrder } from "../../../agent/runtime/runtime.ts";
import { removeImages } from "../../../local/images.ts";
import type { AccessorySpec } from "../../../src/protocol/agent/accessory.ts";
import { dockerTest, engine, removeNetwork, theEngine } from "../../support/engine/docker.ts";
import { imageWith } from "../images.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";

/** Accessories on a real engine: what runs is left alone, and what replaces it proves itself first. */
const host = `host-${randomUUID().slice(0, 8)}`;

/** Adds a line to its volume at each start, and says all of them. */
const KEEPS = [
  "node",
  "-e",
  `const fs = require("node:fs"); fs.appendFileSync("/data/starts", process.env.VERSION + "\\n");
   console.log("starts: " + fs.readFileSync("/data/starts", "utf8").trim().split("\\n").join(","));
   process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 1000);`,
];
/** Gives up on what it finds, after a moment in which it looks well. */
const GIVES_UP = [
  "node",
  "-e",
  `require("node:fs").appendFileSync("/data/starts", "tried\\n");
   setTimeout(() => { console.error("the data is of another version"); process.exit(7); }, 500);`,
];

/** Ends, soon after its start, on data that another version has touched. */
const FUSSY = `setTimeout(() => { if (require("node:fs").existsSync("/data/starts")) process.exit(8); }, 500);
  process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 1000);`;

const READS = [
  "node",
  "-e",
  `console.log(fs.readFileSync("/etc/store/store.conf", "utf8")); setInterval(() => {}, 1000)`,
];

const images: Record<"one" | "two", string> = { one: "", two: "" };
const never = new AbortController().signal;

/** A store of the test's own, with all that it may leave on the engine taken away after. */
function aStore({ onTestFinished }: TestContext) {
  const id = randomUUID().slice(0, 8);
  const [network, volume] = [`sluice-acc-${id}`, `sluice-accdata-${id}`];
  const accessory = `shop_production_kv-${id}`;
  const [name, aside] = [accessoryName(accessory), asideName(accessory)];
  onTestFinished(async () => {
    if (!engine) return;
    const mounts = (await inspect(name))?.Mounts ?? [];
    for (const container of [name, aside]) await removed(`/containers/${container}?force=1&v=1`);
    for (const unnamed of mounts) if (unnamed.Name) await removed(`/volumes/${unnamed.Name}`);
    await removed(`/volumes/${volume}`);
    await removeNetwork(network);
  });
  const specOf = (over: Partial<AccessorySpec> = {}): AccessorySpec => ({
    accessory,
    name: "kv",
    app: "shop",
    environment: "production",
    image: images.one,
    command: KEEPS,
    env: { VERSION: "one" },
    resources: {},
    logging: { maxSizeBytes: 1_000_000, maxFiles: 2 },
    stopGraceMs: 3_000,
    volumes: [{ source: volume, target: "/data", readOnly: false }],
    container: { readOnly: false, tmpfs: [], ulimits: {} },
    network,
    ...over,
  });
  const second = () => specOf({ image: images.two, env: { VERSION: "two" } });
  const logs = async () =>
    (await theEngine().bytes("GET", `/containers/${name}/logs`, { query: { stdout: "1" } })).toString("utf8");
  return { accessory, network, name, aside, specOf, second, logs };
}

let jobs = 0;
const orderOf = (spec: AccessorySpec, over: Partial<AccessoryOrder> = {}): AccessoryOrder => ({
  spec,
  job: `job-${++jobs}`,
  deadlineAt: Date.now() + 60_000,
  signal: never,
  isLeaving: () => false,
  progress: () => {},
  pull: async () => ({ ok: true, value: { image: spec.image } }),
  ...over,
});

const accessories = () => {
  const made = createDockerRuntime({ host, localImages: true }).accessories;
  if (!made) throw new Error("the docker runtime has no accessories");
  return made;
};

const inspected = z.object({
  Id: z.string(),
  Config: z.object({ Image: z.string() }),
  State: z.object({ Running: z.boolean(), StartedAt: z.string() }),
  Mounts: z.array(z.object({ Name: z.string().optional(), Destination: z.string() })),
});
const inspect = (container: string) =>
  theEngine()
    .json(inspected, "GET", `/containers/${container}/json`)
    .catch(() => undefined);
async function runIn(container: string, Cmd: string[]): Promise<void> {
  const made = await theEngine().json(inspected.pick({ Id: true }), "POST", `/containers/${container}/exec`, {
    json: { Cmd },
  });
  await theEngine().bytes("POST", `/exec/${made.Id}/start`, { json: { Detach: true } });
}
const removed = (path: string) =>
  theEngine()
    .bytes("DELETE", path)
    .catch(() => {});

beforeAll(async () => {
  if (!engine) return;
  images.one = await imageWith("accessory-one", { lines: [] });
  images.two = await imageWith("accessory-two", { lines: ["VOLUME /unnamed"] });
}, 120_000);

afterAll(() => engine && removeImages(engine, ["sluice-test:accessory-one", "sluice-test:accessory-two"]));

describe("an accessory's container", () => {
  test("comes back with the machine, has no port on the host, and the name the app calls it by", (context) => {
    const { accessory, network, specOf } = aStore(context);
    const spec = specOf({ env: { PASSWORD: "hunter2" } });
    const config = accessoryConfig({ spec, image: "repo@sha256:abc", host: "host-1", job: "job-1" });
    expect(config).toMatchObject({
      Image: "repo@sha256:abc",
      Env: ["PASSWORD=hunter2"],
      Labels: { "sluice.host": "host-1", "sluice.accessory": accessory, "sluice.app": "shop" },
      HostConfig: {
        RestartPolicy: { Name: "unless-stopped" },
        NetworkMode: network,
        CapDrop: ["ALL"],
        SecurityOpt: ["no-new-privileges"],
      },
      NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: ["kv"] } } },
    });
    expect(JSON.stringify(config)).not.toMatch(/PortBindings|ExposedPorts|sluice\.instance":"[^"]/);
    expect(JSON.stringify(config.Labels)).not.toContain("hunter2");
  });
});

describe.concurrent("start", () => {
  dockerTest("is listed with what is wrong with it, by its own host alone", async (context) => {
    const { accessory, name, specOf } = aStore(context);
    const listed = async () => (await accessories().list()).find((one) => one.accessory === accessory);
    expect(await listed()).toBeUndefined();
    await accessories().start(orderOf(specOf()));
    expect(await listed()).toEqual({ accessory });
    const elsewhere = createDockerRuntime({ host: `${host}-2`, localImages: true }).accessories;
    expect(await elsewhere?.list()).toEqual([]);
    await theEngine().bytes("POST", `/containers/${name}/kill`);
    await vi.waitFor(async () => expect((await listed())?.lack).toBe("was ended by SIGKILL"), {
      timeout: 60_000,
    });
    await removed(`/containers/${name}?force=1`);
    expect(await listed()).toBeUndefined();
  });

  dockerTest(
    "puts its files in place, and is lacking until it is healthy by its own check",
    async (context) => {
      const { specOf, name, accessory } = aStore(context);
      const check = {
        command: ["node", "-e", "fs.readFileSync('/tmp/up')"],
        intervalMs: 1_000,
        timeoutMs: 20_000,
        startPeriodMs: 0,
        failures: 20,
      };
      const files = { "/etc/store/store.conf": "greeting = hello\n" };
      const container = { readOnly: false, tmpfs: [], ulimits: {}, healthcheck: check, files };
      expect(await accessories().lackOf(accessory, never)).toBe("was not started here");
      const waits = Promise.withResolvers<string>();
      const progress = (message: string) => message.startsWith("waiting") && waits.resolve(message);
      const starting = accessories().start(orderOf(specOf({ container, command: READS }), { progress }));
      // A start that fails says why instead.
      expect(await Promise.race([waits.promise, starting])).toBe("waiting until it is healthy");
      expect(await accessories().lackOf(accessory, never)).toContain("is not healthy");
      await runIn(name, ["sh", "-c", ": > /tmp/up"]);
      expect(await starting).toMatchObject({ ok: true });
      expect(await accessories().lackOf(accessory, never)).toBeUndefined();
      expect(
        JSON.stringify(await theEngine().json(z.unknown(), "GET", `/containers/${name}/json`)),
      ).not.toContain("greeting");
      const logs = await theEngine().bytes("GET", `/containers/${name}/logs`, { query: { stdout: "1" } });
      expect(logs.toString()).toContain("greeting = hello");
      // The same again is the same: its files, too.
      const again = await accessories().start(orderOf(specOf({ container, command: READS })));
      expect(again.ok && again.value.differs).toBeUndefined();
      const other = { ...container, files: { "/etc/store/store.conf": "greeting = bye\n" } };
      const differs = await accessories().start(orderOf(specOf({ container: other, command: READS })));
      expect(differs).toMatchObject({ ok: true, value: { differs: expect.stringContaining("container") } });
    },
  );

  dockerTest(
    "makes it once: the second start is answered by the same container, still running",
    async (context) => {
      const { specOf, name } = aStore(context);
      const started = await accessories().start(orderOf(specOf()));
      const before = await inspect(name);
      expect(started).toEqual({ ok: true, value: { runtimeId: before?.Id, image: images.one } });
      expect(await accessories().start(orderOf(specOf()))).toEqual(started);
      expect((await inspect(name))?.State).toEqual(before?.State);
    },
  );

  dockerTest(
    "leaves what is there as it is, and says how it differs from what was asked for",
    async (context) => {
      const { specOf, second, name } = aStore(context);
      await accessories().start(orderOf(specOf()));
      const before = await inspect(name);
      const again = await accessories().start(orderOf({ ...second(), stopGraceMs: 9_000 }));
      expect(again).toMatchObject({ ok: true, value: { runtimeId: before?.Id, image: images.one } });
      const differs = again.ok && again.value.differs;
      expect(differs).toContain(`image ${images.one}, not ${images.two}`);
      expect(differs).toContain("stopGraceMs");
      expect(differs).toContain("sluice accessory upgrade kv");
    },
  );

  dockerTest(
    "says why one that ends at once did, with its last lines, and leaves nothing restarting",
    async (context) => {
      const { specOf, name } = aStore(context);
      const spec = specOf({ command: ["node", "-e", 'console.error("no password"); process.exit(3)'] });
      expect(await accessories().start(orderOf(spec))).toMatchObject({
        ok: false,
        error: {
          code: "exited",
          message: expect.stringMatching(/exited with code 3|started again/),
          logs: expect.arrayContaining(["no password"]),
        },
      });
      expect(await inspect(name)).toBeUndefined();
    },
  );

  dockerTest("starts again what was stopped: the same container on the same data", async (context) => {
    const { specOf, name, logs } = aStore(context);
    await accessories().start(orderOf(specOf()));
    const before = await inspect(name);
    expect(await accessories().stop(orderOf(specOf()))).toMatchObject({ ok: true, value: { killed: false } });
    expect((await inspect(name))?.State.Running).toBe(false);
    expect(await accessories().start(orderOf(specOf()))).toMatchObject({ ok: true });
    expect((await inspect(name))?.Id).toBe(before?.Id);
    expect(await logs()).toContain("starts: one,one");
  });

  dockerTest("does not touch a container of its name that another agent made", async (context) => {
    const { specOf, second, name } = aStore(context);
    await accessories().start(orderOf(specOf()));
    const other = createDockerRuntime({ host: "host-other", localImages: true }).accessories;
    for (const action of ["start", "stop", "upgrade", "remove"] as const) {
      const outcome = await other?.[action](orderOf(second()));
      expect(outcome).toMatchObject({ ok: false, error: { code: "start_failed" } });
    }
    expect((await inspect(name))?.State.Running).toBe(true);
  });
});

describe.concurrent("upgrade", () => {
  dockerTest("replaces the container and keeps its data, in unnamed volumes too", async (context) => {
    const { second, name, aside, logs } = aStore(context);
    await accessories().start(orderOf({ ...second(), env: { VERSION: "one" } }));
    const before = await inspect(name);
    const unnamed = before?.Mounts.find(({ Destination }) => Destination === "/unnamed")?.Name;
    expect(unnamed).toMatch(/^[0-9a-f]{64}$/);
    const upgraded = await accessories().upgrade(orderOf(second()));
    const after = await inspect(name);
    expect(upgraded).toEqual({ ok: true, value: { runtimeId: after?.Id, image: images.two } });
    expect(after?.Id).not.toBe(before?.Id);
    expect(await logs()).toContain("starts: one,two");
    expect(after?.Mounts.find(({ Destination }) => Destination === "/unnamed")?.Name).toBe(unnamed);
    expect(await inspect(aside)).toBeUndefined();
  });

  dockerTest("that does not stay up puts the old container back, and says why", async (context) => {
    const { specOf, second, name, aside, logs } = aStore(context);
    await accessories().start(orderOf(specOf()));
    const before = await inspect(name);
    const failing = { ...second(), command: GIVES_UP };
    expect(await accessories().upgrade(orderOf(failing))).toMatchObject({
      ok: false,
      error: {
        kept: true,
        message: expect.stringContaining("the data is of another version"),
        logs: expect.arrayContaining(["the data is of another version"]),
      },
    });
    const after = await inspect(name);
    expect(after).toMatchObject({ Id: before?.Id, State: { Running: true } });
    // How often the engine has tried the new one again by then is its own affair.
    await context.expect.poll(logs).toMatch(/starts: one(,tried)+,one/);
    expect(await inspect(aside)).toBeUndefined();
  });

  dockerTest("that spoilt the data for the old one as well says so, and claims no more", async (context) => {
    const { specOf, second, name } = aStore(context);
    // It runs on its own data alone.
    const fussy = specOf({ command: ["node", "-e", FUSSY] });
    await accessories().start(orderOf(fussy));
    const outcome = await accessories().upgrade(orderOf({ ...second(), command: GIVES_UP }));
    expect(outcome).toMatchObject({
      ok: false,
      error: {
        message: expect.stringMatching(
          /the data is of another version.*What ran before was put back, with sha256:[0-9a-f]+, and it (exited|ended)/,
        ),
      },
    });
    expect(outcome.ok || outcome.error.kept).toBeUndefined();
    expect(await inspect(name)).toBeDefined();
  });

  dockerTest(
    "whose image can't be had leaves the old container running, not even restarted",
    async (context) => {
      const { specOf, second, name } = aStore(context);
      await accessories().start(orderOf(specOf()));
      const before = await inspect(name);
      const outcome = await accessories().upgrade(
        orderOf(second(), { pull: async () => failed("image_not_found", "no such tag") }),
      );
      expect(outcome).toMatchObject({ ok: false, error: { code: "image_not_found", kept: true } });
      expect((await inspect(name))?.State).toEqual(before?.State);
    },
  );

  dockerTest(
    "that an agent died in is ended by the next command, with the one that runs",
    async (context) => {
      const { specOf, name, aside } = aStore(context);
      await accessories().start(orderOf(specOf()));
      const before = await inspect(name);
      // As a killed agent leaves it: set aside, and nothing in its place.
      await theEngine().bytes("POST", `/containers/${name}/stop`);
      await theEngine().bytes("POST", `/containers/${name}/rename`, { query: { name: aside } });
      expect(await accessories().start(orderOf(specOf()))).toMatchObject({ ok: true });
      expect(await inspect(name)).toMatchObject({ Id: before?.Id, State: { Running: true } });
      expect(await inspect(aside)).toBeUndefined();
    },
  );

  dockerTest("goes on where the agent before left it, when it is handed the same job", async (context) => {
    const { specOf, second, name, aside } = aStore(context);
    await accessories().start(orderOf(specOf()));
    let leaving = false;
    const job = orderOf(second(), { isLeaving: () => leaving });
    const abort = new AbortController();
    const progress = (message: string) => {
      if (!message.startsWith("waiting")) return;
      leaving = true;
      abort.abort();
    };
    await accessories().upgrade({ ...job, progress, signal: abort.signal });
    const [half, kept] = [await inspect(name), await inspect(aside)];
    expect([half?.State.Running, kept?.State.Running]).toEqual([true, false]);
    const again = await accessories().upgrade({ ...job, isLeaving: () => false });
    expect(again, JSON.stringify(again)).toMatchObject({ ok: true });
    expect((await inspect(name))?.Id).toBe(half?.Id);
    expect(await inspect(aside)).toBeUndefined();
  });
});

dockerTest(
  "remove takes the container away and leaves its volume, and does nothing the second time",
  async (context) => {
    const { specOf, name, logs } = aStore(context);
    await accessories().start(orderOf(specOf()));
    expect(await accessories().remove(orderOf(specOf()))).toMatchObject({ ok: true });
    expect(await accessories().remove(orderOf(specOf()))).toEqual({ ok: true, value: {} });
    expect(await inspect(name)).toBeUndefined();
    await accessories().start(orderOf(specOf()));
    expect(await logs()).toContain("starts: one,one");
  },
);

describe("an agent", () => {
  let bench: AgentBench | undefined;
  afterEach(() => bench?.close());

  dockerTest("that restarts leaves it alone, and takes no job of it twice", async (context) => {
    const { specOf, name } = aStore(context);
    bench = await agentBench({ runtime: createDockerRuntime({ host, localImages: true }) });
    bench.control.give({ id: "acc-1", kind: "accessory", action: "start", spec: specOf() });
    expect(await bench.control.result("acc-1")).toMatchObject({ ok: true, result: { image: images.one } });
    const before = await inspect(name);
    const polls = bench.control.polls.length;
    await bench.restart();
    await bench.control.until(() => (bench?.control.polls.length ?? 0) > polls, "the next agent polls");
    expect(bench.control.polls.at(-1)?.instances).toEqual([]);
    expect((await inspect(name))?.State).toEqual(before?.State);
  });

  test("on plain processes refuses, with words", async (context) => {
    const { specOf } = aStore(context);
    bench = await agentBench({ runtime: createProcessRuntime({ root: "/tmp", directory: "/tmp/none" }) });
    bench.control.give({
      id: "acc-2",
      kind: "accessory",
      action: "start",
      spec: specOf({ image: "postgres:17" }),
    });
    expect(await bench.control.result("acc-2")).toMatchObject({
      ok: false,
      error: { code: "start_failed", message: expect.stringContaining("accessory kv is a container") },
    });
  });
});
