import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { systemClock } from "../../../agent/clock.ts";
import { awaitReady } from "../../../agent/instances/await-ready.ts";
import type { Exit, Runtime } from "../../../agent/runtime/runtime.ts";
import { healthOf, specOf } from "../specs.ts";

const never = new AbortController().signal;

/** A runtime whose instance ends as given, each time that it is waited for; and after the last of these runs on. */
function ending(...exits: Exit[]) {
  const left = [...exits];
  let restarts = 0;
  const runtime = {
    name: "docker",
    waitExit: async () => left.shift() ?? new Promise(() => {}),
    restart: async () => {
      restarts += 1;
      return { ok: true, value: { runtimeId: "c1", startedAt: 0 } };
    },
    logs: async () => [],
    explain: async () => undefined,
    imageHealth: async () => ({ state: "none", output: "" }),
  } as unknown as Runtime; // Nothing else of it is asked.
  return { runtime, restarted: () => restarts };
}

async function waiting(runtime: Runtime) {
  const server = createServer((_, response) => response.end("ok")).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const spec = specOf({ instance: "i", hostPort: port, image: "x", health: healthOf({}) });
  const up = await awaitReady({ spec, runtime, clock: systemClock, ageMs: 0, signal: never });
  server.close();
  return up;
}

test("an instance that falls with its engine while it starts is started again, and gets ready", async () => {
  const { runtime, restarted } = ending(
    { exitCode: 0, withEngine: true },
    { exitCode: 137, withEngine: true },
  );
  expect(await waiting(runtime)).toMatchObject({ ok: true });
  expect(restarted()).toBe(2);
});

test("one that ends by itself while it starts is not", async () => {
  const { runtime, restarted } = ending({ exitCode: 7 });
  expect(await waiting(runtime)).toMatchObject({ ok: false, error: { code: "exited", exitCode: 7 } });
  expect(restarted()).toBe(0);
});
