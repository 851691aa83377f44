import http from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { dockerTest, engine, freePort } from "../../support/engine/docker.ts";
import { apps, nodeCommand } from "../apps.ts";
import { imageWith, nodeImage } from "../images.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { healthOf, specOf } from "../specs.ts";

const host = `host-${Math.random().toString(36).slice(2, 10)}`;
type Over = Parameters<typeof specOf>[0];
/** Within it a busy machine has an app up, so that what is wrong with it is seen. */
const DEADLINE_MS = 2_500;

/** Each way a start can go wrong: what control is told, on both runtimes, and that nothing stays behind. */
function startFailures(name: "process" | "docker", it: typeof dockerTest): void {
  describe.concurrent(`a start job on the ${name} runtime`, () => {
    let bench: AgentBench;
    let image = "file:app";
    let jobs = 0;

    beforeAll(async () => {
      if (name === "docker" && !engine) return;
      if (name === "docker") image = await nodeImage();
      bench = await agentBench(name === "docker" ? { runtime: createDockerRuntime({ host }) } : {});
    });
    afterEach(() => expect(bench?.control.invalid ?? []).toEqual([]));
    afterAll(() => bench?.close());

    async function start(app: keyof typeof apps, over: Partial<Over> = {}) {
      const n = ++jobs;
      const id = `job-${n}`;
      const spec = specOf({
        instance: `${host}-${name}-${n}`,
        image,
        hostPort: await freePort(),
        command: nodeCommand(app),
        health: healthOf({ deadlineMs: DEADLINE_MS, timeoutMs: 300 }),
        ...over,
      });
      bench.control.give({ id, kind: "start", spec });
      const result = await bench.control.result(id);
      return { spec, result };
    }

    async function failure(app: keyof typeof apps, over: Partial<Over> = {}) {
      const { spec, result } = await start(app, over);
      if (result.ok) throw new Error("it did not fail");
      const left = await bench.runtime.list();
      expect(left.ok && left.value.map(({ instance }) => instance)).not.toContain(spec.instance);
      return { spec, error: result.error };
    }

    it("reports ready, how long it took, and what the runtime calls it", async () => {
      const { spec, result } = await start("good", { health: healthOf() });
      expect(result).toMatchObject({
        ok: true,
        result: { runtimeId: expect.any(String), readyAfterMs: expect.any(Number) },
      });
      await bench.control.until(
        () => bench.control.reports.some((one) => one.instance === spec.instance),
        "health reported",
      );
      expect(bench.control.reports.find((one) => one.instance === spec.instance)).toMatchObject({
        state: "ready",
      });
    });

    it("tells exit code and last lines of an app that exits at once", async () => {
      const { error } = await failure("exits");
      expect(error).toMatchObject({ code: "exited", exitCode: 3 });
      expect(error.message).toContain("exited with code 3");
      expect(error.logs).toHaveLength(50);
      expect(error.logs).toContain("no database");
    });

    it("tells that the port was never opened", async () => {
      const { spec, error } = await failure("silent");
      expect(error.code).toBe("port_closed");
      expect(error.message).toContain(String(name === "docker" ? spec.containerPort : spec.hostPort));
    });

    it("tells the status and body of a health check that answers 503", async () => {
      const { spec, error } = await failure("status");
      expect(error).toMatchObject({ code: "health_status", probe: { status: 503, body: "no database" } });
      expect(error.message).toContain(`GET http://127.0.0.1:${spec.hostPort}/health answered 503`);
    });

    it("tells where a health check that redirects leads", async () => {
      const health = healthOf({ deadlineMs: DEADLINE_MS, timeoutMs: 2_000 });
      const { error } = await failure("redirect", { health });
      expect(error).toMatchObject({ code: "health_redirect", probe: { status: 302 } });
      expect(error.message).toContain("https://login.example.com/");
    });

    it("tells of a health check that hangs", async () => {
      const { error } = await failure("hangs");
      expect(error.code).toBe("health_timeout");
      expect(error.message).toContain("no answer within 300 ms");
    });

    it("tells of a health check whose connection is cut", async () => {
      const { error } = await failure("resets", {
        health: healthOf({ deadlineMs: DEADLINE_MS, timeoutMs: 2_000 }),
      });
      expect(error.code).toBe("health_unreachable");
      expect(error.probe?.error).toBeTruthy();
    });

    it("names the port that something else holds", async () => {
      const hostPort = await freePort();
      const other = http.createServer().listen(hostPort, "127.0.0.1");
      const { error } = await failure("good", { hostPort });
      other.close();
      expect(error.code).toBe("port_in_use");
      expect(error.message).toContain(String(hostPort));
    });

    it("gives up when the job's own time is over, and says what was last seen", async () => {
      const giveUpAfter = async (patienceMs: number) => {
        const n = ++jobs;
        const id = `job-${n}`;
        const spec = specOf({
          instance: `${host}-${name}-${n}`,
          image,
          hostPort: await freePort(),
          command: nodeCommand("status"),
          health: healthOf({ deadlineMs: 600_000 }),
        });
        bench.control.give({ id, kind: "start", spec, deadlineAt: Date.now() + patienceMs });
        const isDone = () => bench.control.done.some((one) => one.id === id);
        await bench.control.until(isDone, `job ${id} is done`, patienceMs + 60_000);
        return bench.control.result(id);
      };
      // A busy machine needs longer until the app runs and there is something to see.
      let result = await giveUpAfter(4_000);
      for (const patienceMs of [20_000, 60_000]) {
        if (!result.ok && result.error.message.includes("last seen")) break;
        result = await giveUpAfter(patienceMs);
      }
      expect(result).toMatchObject({
        ok: false,
        error: { code: "deadline", message: expect.stringContaining("answered 503") },
      });
    }, 300_000);

    it("says that the image is missing", async () => {
      const missing = name === "docker" ? `sha256:${"0".repeat(64)}` : "file:missing";
      const { error } = await failure("good", { image: missing });
      expect(error.code).toBe("image_not_found");
      expect(error.message).toContain(missing);
    });

    if (name === "docker") {
      it("fails when the checks pass but the image's own HEALTHCHECK doesn't", async () => {
        const lines = [
          `HEALTHCHECK --interval=60s CMD ["node", "-e", "console.log('disk full'); process.exit(1)"]`,
        ];
        const { error } = await failure("good", { image: await imageWith("unhealthy", { lines }) });
        expect(error.code).toBe("docker_unhealthy");
        expect(error.message).toContain("disk full");
      });

      it("waits for an app that Docker calls unhealthy because it boots longer than its HEALTHCHECK has retries", async () => {
        const check = `process.exit(require("node:fs").existsSync("/tmp/up") ? 0 : 1)`;
        const lines = [`HEALTHCHECK --interval=1s --retries=2 CMD ["node", "-e", ${JSON.stringify(check)}]`];
        const image = await imageWith("slow", { lines });
        const boots = `setTimeout(() => require("node:fs").writeFileSync("/tmp/up", ""), 6000); ${apps.good}`;
        const over = { image, command: ["node", "-e", boots], health: healthOf({ deadlineMs: 30_000 }) };
        const { result } = await start("good", over);
        expect(result).toMatchObject({ ok: true });
      });

      it.each([
        [
          "a shell's",
          `CMD ["node", "-e", "console.log('/bin/sh: 1: curl: not found'); process.exit(1)"]`,
          "curl",
        ],
        ["the engine's", `CMD ["wget2", "-q", "http://127.0.0.1:3000/health"]`, "wget2"],
      ])(
        "says at once, in %s words, that a HEALTHCHECK calls what the image lacks",
        async (_whose, check, program) => {
          const image = await imageWith(`lacks-${program}`, {
            lines: [`HEALTHCHECK --interval=60s ${check}`],
          });
          const began = performance.now();
          const health = healthOf({ deadlineMs: 60_000 });
          const { error } = await failure("good", { image, health });
          expect(error.code).toBe("docker_unhealthy");
          expect(error.message).toMatch(new RegExp(`can't be run in it: .*${program}`));
          expect(performance.now() - began).toBeLessThan(20_000);
        },
      );
    }
  });
}

startFailures("process", test as typeof dockerTest);
startFailures("docker", dockerTest);
