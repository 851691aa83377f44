import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { createControl } from "../../../agent/control/control.ts";

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

test("a challenge before control is no refusal of control's: it says what to set, and is tried again", async () => {
  const server = createServer((_request, response) =>
    response.writeHead(403, { "cf-mitigated": "challenge" }).end("<html>Just a moment…"),
  );
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo; // It listens on TCP, so this is one.
  const control = createControl({ url: `http://127.0.0.1:${port}`, timeoutMs: 5_000 });
  expect(await control("/agent/v1/poll", {}, z.object({}))).toMatchObject({
    ok: false,
    kind: "unreachable",
    detail: expect.stringMatching(/answered 403: .*challenge.*Bot Fight Mode/),
  });
});
