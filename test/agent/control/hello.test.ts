import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { helloImage, removeImages } from "../../../local/images.ts";
import { dockerTest, freePort, theEngine } from "../../support/engine/docker.ts";
import { agentBench } from "../running-agent.ts";
import { answerOf } from "../runtime/runtime.contract.ts";
import { healthOf, specOf } from "../specs.ts";

const HELLO = path.resolve(import.meta.dirname, "../../../examples/hello");
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

async function hello(env: Record<string, string> = {}) {
  const hostPort = await freePort();
  const child = spawn(process.execPath, ["main.ts"], {
    cwd: HELLO,
    env: { ...process.env, PORT: String(hostPort), SLUICE_VERSION: "v1", ...env },
    stdio: "ignore",
  });
  children.push(child);
  return {
    child,
    spec: specOf({ instance: "ins-hello", image: "", hostPort }),
    url: `http://127.0.0.1:${hostPort}`,
  };
}

const statusOf = async (url: string) => (await fetch(url, { headers: { connection: "close" } })).status;

describe("the hello example", () => {
  test("says which version answers, and echoes what it got", async () => {
    const { spec, url } = await hello();
    expect(JSON.parse(await answerOf(spec))).toMatchObject({ version: "v1" });
    const echoed = await fetch(`${url}/echo`, { method: "POST", body: "abc" });
    expect(await echoed.json()).toMatchObject({ bytes: 3, sha256: expect.stringMatching(/^ba7816bf/) });
    expect(await (await fetch(`${url}/sse?count=2&ms=1`)).text()).toContain("id: 2\n");
  });

  test("finishes a request under way after SIGTERM, closes its connection, and ends with 0", async () => {
    const { child, spec, url } = await hello();
    await answerOf(spec);
    const agent = new http.Agent({ keepAlive: true });
    const request = http.get(`${url}/slow?ms=400`, { agent });
    await once(request, "socket");
    // Under way once the next answer, asked later, is there.
    await answerOf(spec, "/live");
    child.kill("SIGTERM");
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.statusCode).toBe(200);
    expect(response.headers.connection).toBe("close");
    response.resume();
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("can be made slow to boot, never ready, failing, or dead at the start", async () => {
    const booting = await hello({ BOOT_MS: "60000" });
    await answerOf(booting.spec, "/live");
    expect(await statusOf(`${booting.url}/health`)).toBe(503);
    const unready = await hello({ READY: "fail", ERROR_RATE: "1" });
    await answerOf(unready.spec, "/live");
    expect(await statusOf(`${unready.url}/health`)).toBe(200);
    expect(await statusOf(`${unready.url}/ready`)).toBe(503);
    expect(await statusOf(`${unready.url}/`)).toBe(500);
    const dead = await hello({ CRASH_ON_START: "1" });
    expect(await once(dead.child, "exit")).toEqual([1, null]);
  });

  dockerTest(
    "is built by its own Dockerfile, runs without root, and is ready by its own HEALTHCHECK",
    async () => {
      const tag = `hello:test-${process.pid}`;
      const image = await helloImage(theEngine(), { tag });
      const bench = await agentBench({ runtime: createDockerRuntime({ host: `hello-${process.pid}` }) });
      const spec = specOf({
        instance: `hello-${process.pid}`,
        image,
        hostPort: await freePort(),
        health: healthOf(),
      });
      bench.control.give({ id: "job-1", kind: "start", spec });
      const result = await bench.control.result("job-1");
      expect(result).toMatchObject({ ok: true });
      expect(JSON.parse(await answerOf(spec))).toMatchObject({ app: "hello", instance: spec.instance });
      const runtimeId = result.ok ? result.result.runtimeId : "";
      const top = await theEngine().bytes("GET", `/containers/${runtimeId}/top`, {
        query: { ps_args: "-o pid,uid,args" },
      });
      const rows = JSON.parse(top.toString("utf8")).Processes as string[][];
      expect(rows.map(([, uid]) => uid)).toEqual(rows.map(() => "1000"));
      bench.control.give({ id: "job-2", kind: "stop", instance: spec.instance, graceMs: 5_000 });
      expect(await bench.control.result("job-2")).toMatchObject({ ok: true, result: { killed: false } });
      await bench.close();
      await removeImages(theEngine(), [tag]);
    },
  );
});
