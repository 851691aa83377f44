import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect } from "vitest";
import { describeExit, type Runtime } from "../../../agent/runtime/runtime.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { freePort } from "../../support/engine/docker.ts";
import { type apps, nodeCommand } from "../apps.ts";
import { specOf } from "../specs.ts";

export interface ContractSetup {
  /** A runtime as a newly started agent would have it: what an earlier one started is still there. */
  open(): Promise<Runtime>;
  /** An image that exists, as `pull` answers it. */
  image(): Promise<string>;
  /** There is nothing to run on: the tests skip themselves. */
  unavailable?: boolean;
  /** One that doesn't exist. */
  missingImage: string;
}

type It = (name: string, run: () => Promise<void>) => void;

const never = new AbortController().signal;

/** What both runtimes promise. `it` skips where the runtime can't be had. */
export function runtimeContract(name: string, it: It, setup: ContractSetup): void {
  describe(`${name} runtime`, () => {
    let runtime: Runtime;
    let image: string;
    const started: string[] = [];

    beforeAll(async () => {
      if (setup.unavailable) return;
      runtime = await setup.open();
      image = await setup.image();
    });

    afterEach(async () => {
      for (const instance of started.splice(0)) await runtime.stop(instance, 0);
    });

    async function newSpec(app: keyof typeof apps, over: Partial<InstanceSpec> = {}): Promise<InstanceSpec> {
      const instance = `ins-${Math.random().toString(36).slice(2, 10)}`;
      started.push(instance);
      return specOf({ instance, image, hostPort: await freePort(), command: nodeCommand(app), ...over });
    }

    async function begin(spec: InstanceSpec) {
      const outcome = await runtime.start(spec);
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.error));
      return outcome.value;
    }

    it("runs an instance on its host port and tells it who it is", async () => {
      const spec = await newSpec("good", { env: { OWN: "mine" }, version: "v7" });
      await begin(spec);
      const seen = JSON.parse(await answerOf(spec));
      expect(seen).toMatchObject({ version: "v7", release: "rel-1", instance: spec.instance, own: "mine" });
    });

    it("keeps the agent's own environment from the app", async () => {
      process.env.AGENT_SECRET = "slu_secret";
      const spec = await newSpec("good");
      await begin(spec);
      delete process.env.AGENT_SECRET;
      expect(JSON.parse(await answerOf(spec)).secret).toBeNull();
    });

    it("runs a worker without a port, asks its check, and says when it ignores SIGTERM", async () => {
      const trap = `process.on("SIGTERM", () => {}); require("fs").writeFileSync("/tmp/" + process.env.SLUICE_INSTANCE, "PORT" in process.env ? "port" : process.env.SLUICE_PROCESS); setInterval(() => {}, 1000)`;
      const { slot, hostPort, containerPort, ...base } = await newSpec("good");
      const spec = { ...base, command: ["node", "-e", trap], worker: { process: "mailer", steadyMs: 100 } };
      await begin(spec);
      const saw = `process.exit(require("fs").readFileSync("/tmp/" + process.env.SLUICE_INSTANCE, "utf8") === "mailer" ? 0 : 3)`;
      const check = async () =>
        runtime.execute(spec.instance, ["node", "-e", saw], AbortSignal.timeout(60_000));
      while ((await check()).exitCode !== 0) await sleep(50);
      expect(await runtime.stop(spec.instance, 500)).toMatchObject({ ok: true, value: { killed: true } });
    });

    it("answers the running instance when the same one is started again", async () => {
      const spec = await newSpec("mortal");
      const first = await begin(spec);
      const pid = await answerOf(spec);
      const second = await begin(spec);
      expect(second.runtimeId).toBe(first.runtimeId);
      expect(await answerOf(spec)).toBe(pid);
    });

    it("tells the exit code and keeps the last 50 lines of an app that exits at once", async () => {
      const spec = await newSpec("exits");
      await begin(spec);
      const exit = await runtime.waitExit(spec.instance, AbortSignal.timeout(60_000));
      expect(exit).toEqual({ exitCode: 3 });
      const lines = await runtime.logs(spec.instance, 50);
      expect(lines).toHaveLength(50);
      expect(lines).toContain("line 60");
      expect(lines).toContain("no database");
    });

    it("names a program that is missing", async () => {
      const spec = await newSpec("good", { command: ["no-such-program", "--now"] });
      const outcome = await runtime.start(spec);
      if (outcome.ok) {
        // Under an init the container starts, and it is the init that finds nothing to run.
        const exit = await runtime.waitExit(spec.instance, AbortSignal.timeout(60_000));
        expect(exit).toEqual({ exitCode: 127 });
        expect((await runtime.logs(spec.instance, 50)).join()).toContain("no-such-program");
      } else {
        expect(outcome.error.code).toBe("start_failed");
        expect(outcome.error.message).toContain("no-such-program");
        expect(await listed(spec.instance)).toBeUndefined();
      }
    });

    it("names the port when something else listens on it", async () => {
      const spec = await newSpec("good");
      const other = http.createServer().listen(spec.hostPort, "127.0.0.1");
      const outcome = await runtime.start(spec);
      other.close();
      expect(outcome).toMatchObject({ ok: false, error: { code: "port_in_use" } });
      expect(JSON.stringify(outcome)).toContain(String(spec.hostPort));
      expect(await listed(spec.instance)).toBeUndefined();
      await begin(spec);
      expect(await answerOf(spec)).toContain(spec.instance);
    });

    it("stops with SIGTERM, forgets the instance and frees its port", async () => {
      const spec = await newSpec("good");
      await begin(spec);
      await answerOf(spec);
      const stopped = await runtime.stop(spec.instance, 5_000);
      expect(stopped).toMatchObject({ ok: true, value: { killed: false } });
      expect(await listed(spec.instance)).toBeUndefined();
      await begin({ ...spec, instance: (await newSpec("good")).instance });
      expect(await answerOf(spec)).toContain("instance");
    });

    it("kills what ignores SIGTERM after the grace, and says so", async () => {
      const spec = await newSpec("stubborn");
      await begin(spec);
      await answerOf(spec);
      const before = Date.now();
      const stopped = await runtime.stop(spec.instance, 1_000);
      expect(stopped).toMatchObject({ ok: true, value: { killed: true } });
      expect(Date.now() - before).toBeGreaterThanOrEqual(950);
    });

    it("succeeds in stopping what is gone", async () => {
      expect(await runtime.stop("ins-never", 1_000)).toEqual({ ok: true, value: { killed: false } });
    });

    it("finds what an earlier agent started, with its spec but without its variables", async () => {
      const spec = await newSpec("mortal", { env: { OWN: "secret" } });
      const { runtimeId } = await begin(spec);
      const pid = await answerOf(spec);
      const later = await setup.open();
      const found = await later.list();
      const mine = found.ok ? found.value.find(({ instance }) => instance === spec.instance) : undefined;
      expect(mine).toMatchObject({ runtimeId, running: true, spec: { ...spec, env: {} } });
      expect(await answerOf(spec)).toBe(pid);
      expect(await later.stop(spec.instance, 5_000)).toMatchObject({ ok: true, value: { killed: false } });
    });

    it("tells of the end of an instance that an earlier agent started", async () => {
      const spec = await newSpec("mortal");
      await begin(spec);
      await answerOf(spec);
      const exit = (await setup.open()).waitExit(spec.instance, AbortSignal.timeout(60_000));
      await fetch(`http://127.0.0.1:${spec.hostPort}/die`).catch(() => {});
      expect(describeExit((await exit) ?? { exitCode: 0 })).toMatch(/code 7|exit code is unknown/);
    });

    it("lists an instance that ended as not running, and starts it anew when asked", async () => {
      const spec = await newSpec("mortal", { env: { OWN: "kept" } });
      await begin(spec);
      await answerOf(spec);
      const exit = runtime.waitExit(spec.instance, AbortSignal.timeout(60_000));
      await fetch(`http://127.0.0.1:${spec.hostPort}/die`).catch(() => {});
      expect(await exit).toEqual({ exitCode: 7 });
      expect(await listed(spec.instance)).toMatchObject({ running: false });
      expect(await runtime.restart(spec.instance, 1_000)).toMatchObject({ ok: true });
      expect(await answerOf(spec)).not.toBe("");
    });

    it("gives up waiting for an exit when told to, and the instance runs on", async () => {
      const spec = await newSpec("good");
      await begin(spec);
      expect(await runtime.waitExit(spec.instance, AbortSignal.timeout(50))).toBeUndefined();
      expect(await answerOf(spec)).toContain(spec.instance);
    });

    it("says whether the app's port is open", async () => {
      const [open, closed] = [await newSpec("good"), await newSpec("silent")];
      await begin(open);
      await begin(closed);
      await answerOf(open);
      expect(await runtime.listens(open)).toBe(true);
      expect(await runtime.listens(closed)).toBe(false);
    });

    it("pins an image, the same one each time, and refuses one that doesn't exist", async () => {
      const once = await runtime.pull({ image }, () => {}, never);
      const twice = await runtime.pull({ image }, () => {}, never);
      expect(once).toMatchObject({
        ok: true,
        value: { digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
      });
      expect(twice).toEqual(once);
      const missing = await runtime.pull({ image: setup.missingImage }, () => {}, never);
      expect(missing).toMatchObject({ ok: false, error: { code: "image_not_found" } });
    });

    it("refuses an instance id that isn't plain", async () => {
      const spec = { ...(await newSpec("good")), instance: "../../etc" };
      expect(await runtime.start(spec)).toMatchObject({ ok: false, error: { code: "start_failed" } });
    });

    async function listed(instance: string) {
      const found = await runtime.list();
      if (!found.ok) throw new Error(found.error.message);
      return found.value.find((one) => one.instance === instance);
    }
  });
}

/** The app's answer, once it gives one. */
export async function answerOf(spec: InstanceSpec, path = "/"): Promise<string> {
  const until = Date.now() + 10_000;
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${spec.hostPort}${path}`, {
        headers: { connection: "close" },
      });
      return await response.text();
    } catch (thrown) {
      if (Date.now() > until) throw thrown;
      await sleep(25);
    }
  }
}
