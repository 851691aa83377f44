import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { look, wordsOf } from "../../../agent/instances/check.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { createProcessRuntime } from "../../../agent/runtime/process/process.ts";
import type { Runtime } from "../../../agent/runtime/runtime.ts";
import type { Check } from "../../../src/protocol/agent/check.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { dockerTest, engine, freePort } from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { nodeImage } from "../images.ts";
import { answerOf } from "../runtime/runtime.contract.ts";
import { specOf } from "../specs.ts";

const never = new AbortController().signal;
const TIMES = { intervalMs: 50, timeoutMs: 1_000, failures: 1, successes: 1 };

describe("a GET", () => {
  let server: http.Server;
  let port: number;
  let asked: http.IncomingHttpHeaders;
  beforeAll(async () => {
    server = http.createServer((request, response) => {
      asked = request.headers;
      // As Django and Rails do with a host that isn't theirs.
      const status = request.headers.host === "shop.example.com" ? Number(request.url?.slice(1)) : 400;
      response.writeHead(status, status >= 300 && status < 400 ? { location: "/login" } : {}).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => server.close());

  const ask = (check: Partial<Check>) => {
    const spec = specOf({ instance: "i", hostPort: port, image: "file:x" });
    return look(
      {
        spec,
        check: { ...TIMES, ...check },
        runtime: createProcessRuntime({ root: "/", directory: "/nowhere" }),
      },
      never,
    );
  };

  test("says the public hostname, and that visitors come by https", async () => {
    expect(await ask({ path: "/204", host: "shop.example.com" })).toEqual({ ok: true, status: 204 });
    expect(asked).toMatchObject({ host: "shop.example.com", "x-forwarded-proto": "https" });
    expect(await ask({ path: "/204" })).toMatchObject({ ok: false, code: "health_status" });
  });

  test("takes for good what the manifest says, and names it when it isn't", async () => {
    const host = "shop.example.com";
    expect(await ask({ path: "/301", host, statuses: [[200, 399]] })).toMatchObject({ ok: true });
    expect(
      await ask({ path: "/401", host, statuses: [[401, 401]], headers: { "x-probe": "1" } }),
    ).toMatchObject({ ok: true });
    expect(asked["x-probe"]).toBe("1");
    expect(
      await ask({
        path: "/200",
        host,
        statuses: [
          [401, 401],
          [403, 404],
        ],
      }),
    ).toMatchObject({
      problem: "answered 200 (wanted 401, 403-404)",
    });
  });
});

interface Stage {
  readonly runtime: Runtime;
  readonly image: string;
}

/** One app, reached in each way a check can: its port, another port, a command inside it. */
const APP = `const http = require("node:http");
http.createServer((q, s) => s.end("main")).listen(process.env.PORT, "0.0.0.0");
http.createServer((q, s) => s.end("admin")).listen(process.env.ADMIN_PORT, "0.0.0.0");`;

function checks(name: string, stage: () => Stage, own: (port: number) => number): void {
  const spec = async (adminPort: number): Promise<InstanceSpec> =>
    specOf({
      instance: `check-${randomUUID().slice(0, 8)}`,
      hostPort: await freePort(),
      image: stage().image,
      env: { ADMIN_PORT: String(adminPort), COLOUR: "blue" },
      command: ["node", "-e", APP],
    });

  test.skipIf(name === "docker" && !engine)(`looks at an instance in every way (${name})`, async () => {
    const admin = own(await freePort());
    const closed = own(await freePort());
    const { runtime } = stage();
    const app = await spec(admin);
    const sees = (check: Partial<Check>) =>
      look({ spec: app, check: { ...TIMES, ...check }, runtime }, never);
    try {
      expect(await runtime.start(app)).toMatchObject({ ok: true });
      await answerOf(app);
      expect(await sees({ path: "/", port: admin })).toMatchObject({ ok: true });
      expect(await sees({ path: "/", port: closed })).toMatchObject({ ok: false, code: "port_closed" });
      expect(await sees({ tcp: true })).toEqual({ ok: true });
      expect(await sees({ tcp: true, port: admin })).toEqual({ ok: true });
      expect(await sees({ tcp: true, port: closed })).toMatchObject({ ok: false, code: "port_closed" });
      expect(wordsOf({ spec: app, check: { ...TIMES, tcp: true, port: closed }, runtime })).toBe(
        `a connection to port ${closed}`,
      );
      expect(
        await sees({ command: ["node", "-e", "process.exit(process.env.COLOUR === 'blue' ? 0 : 1)"] }),
      ).toEqual({ ok: true });
      const failed = ["node", "-e", "console.log('not yet'); process.exit(3)"];
      expect(await sees({ command: failed })).toMatchObject({
        code: "health_command",
        problem: "exited with code 3: not yet",
      });
      expect(await sees({ command: ["no-such-program"] })).toMatchObject({
        ok: false,
        code: "health_command",
      });
      expect(
        await sees({ command: ["node", "-e", "setInterval(() => {}, 1000)"], timeoutMs: 300 }),
      ).toMatchObject({
        problem: "did not end within 300 ms",
      });
    } finally {
      await runtime.stop(app.instance, 0);
    }
  });
}

describe("a check of a process", () => {
  let root: string;
  let runtime: Runtime;
  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), "sluice-checks-"));
    await mkdir(path.join(root, "app"));
    await writeFile(path.join(root, "app/package.json"), "{}");
    runtime = createProcessRuntime({ root, directory: path.join(root, "state") });
  });
  afterAll(() => rm(root, { recursive: true, force: true }));
  checks(
    "process",
    () => ({ runtime, image: "file:app" }),
    (port) => port,
  );
});

describe("a check of a container", () => {
  let image = "";
  let runtime: Runtime;
  const host = `host-${randomUUID().slice(0, 8)}`;
  beforeAll(async () => {
    if (!engine) return;
    image = await nodeImage();
    runtime = createDockerRuntime({ host });
  });
  checks(
    "docker",
    () => ({ runtime, image }),
    () => 4_000 + Math.floor(Math.random() * 1_000),
  );

  const started = async (over: Partial<InstanceSpec>) => {
    const spec = specOf({
      instance: `own-${randomUUID().slice(0, 8)}`,
      hostPort: await freePort(),
      image,
      command: nodeCommand("good"),
      ...over,
    });
    const walls = { readOnly: false, tmpfs: [], ulimits: {}, ...over.container };
    const whole = { ...spec, container: walls };
    expect(await runtime.start(whole)).toMatchObject({ ok: true });
    return whole;
  };
  const inside = async (spec: InstanceSpec, script: string) =>
    (await runtime.execute(spec.instance, ["node", "-p", script], AbortSignal.timeout(60_000))).output;

  dockerTest("finds its own PID 1, entrypoint, user, groups and hosts", async () => {
    const spec = await started({
      command: ["-e", "setInterval(() => {}, 1000)"],
      container: {
        readOnly: false,
        tmpfs: [],
        ulimits: {},
        init: false,
        entrypoint: ["node"],
        user: "1000:1000",
        groups: ["2000"],
        extraHosts: ["db.internal:192.0.2.7"],
      },
    });
    try {
      expect(await inside(spec, "fs.readFileSync('/proc/1/cmdline', 'utf8')")).toMatch(/^node/);
      expect(await inside(spec, "[process.getuid(), ...process.getgroups()].join()")).toBe("1000,1000,2000");
      expect(await inside(spec, "fs.readFileSync('/etc/hosts', 'utf8')")).toMatch(
        /192\.0\.2\.7\s+db\.internal/,
      );
    } finally {
      await runtime.stop(spec.instance, 0);
    }
  });

  dockerTest("asks the manifest's health check in the place of the image's, or none", async () => {
    const check = { intervalMs: 1_000, timeoutMs: 1_000, startPeriodMs: 0, failures: 3 };
    const walls = { readOnly: false, tmpfs: [], ulimits: {} };
    const sick = await started({
      container: { ...walls, healthcheck: { ...check, command: ["node", "-e", "process.exit(1)"] } },
    });
    const off = await started({ container: { ...walls, healthcheck: "off" } });
    try {
      expect((await runtime.imageHealth(sick.instance, never)).state).toMatch(/failing|unhealthy/);
      expect(await runtime.imageHealth(off.instance, never)).toMatchObject({ state: "none" });
    } finally {
      for (const { instance } of [sick, off]) await runtime.stop(instance, 0);
    }
  });
});
