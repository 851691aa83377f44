import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { systemClock } from "../../../agent/clock.ts";
import { createControl } from "../../../agent/control/control.ts";
import { downloadSmall } from "../../../agent/control/download.ts";
import { Identity } from "../../../agent/control/identity.ts";
import { holdWakeSocket } from "../../../agent/control/wake.ts";

test("what went wrong in control is told with the request's id, by which control's log has it", async () => {
  const problem = {
    type: "about:blank",
    title: "x",
    status: 500,
    code: "internal",
    detail: "it broke",
    requestId: "req_7",
  };
  const server = createServer((_request, response) => response.writeHead(500).end(JSON.stringify(problem)));
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const control = createControl({ url: `http://127.0.0.1:${port}`, timeoutMs: 5_000 });
  expect(await control("/agent/v1/poll", {}, z.object({}))).toMatchObject({
    detail: "it broke (request req_7)",
  });
});

/** Cloudflare in control's place, by its own URL. */
async function challenged(): Promise<string> {
  const server = createServer((_request, response) =>
    response.writeHead(403, { "cf-mitigated": "challenge", "content-type": "text/html" }).end(PAGE),
  );
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // It listens on TCP, so this is one.
  return `http://127.0.0.1:${port}`;
}
const PAGE = "<!DOCTYPE html><html><title>Just a moment...</title>";
const IN_WORDS = /answered 403: .*challenge.*Bot Fight Mode/;

test("a challenge before control is no refusal of control's: it says what to set, and is tried again", async () => {
  const control = createControl({ url: await challenged(), timeoutMs: 5_000 });
  expect(await control("/agent/v1/poll", {}, z.object({}))).toMatchObject({
    ok: false,
    kind: "unreachable",
    detail: expect.stringMatching(IN_WORDS),
  });
});

test("a challenge before the wake-up socket is named in the agent's log", async () => {
  const [over, told] = [new AbortController(), Promise.withResolvers<unknown>()];
  const url = await challenged();
  const credentials = {
    url,
    token: "slu_host",
    host: { id: "host_1", name: "web-1" },
    runtime: "docker",
  } as const;
  const held = holdWakeSocket({
    url,
    identity: new Identity("/nowhere", credentials),
    clock: systemClock,
    log: { info: () => {}, error: () => {}, warn: (_event, facts) => told.resolve(facts) },
    onWake: () => {},
    socket: { isOpen: false },
    signal: over.signal,
  });
  expect(await told.promise).toMatchObject({ detail: expect.stringMatching(IN_WORDS) });
  over.abort();
  await held;
});

test("a challenge before an image of control's ends its download, and says what to set", async () => {
  const at = {
    url: await challenged(),
    token: () => "slu_host",
    clock: systemClock,
    signal: new AbortController().signal,
  };
  await expect(downloadSmall(at, "/agent/v1/images/sha256:0", 1_000)).rejects.toThrow(IN_WORDS);
});
