import { beforeEach, describe, expect, it } from "vitest";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("what anybody may send to where agents ask", () => {
  it.each([
    ["a nested protocol", `{"protocol":${nested(100_000)}}`],
    ["a long protocol", JSON.stringify({ protocol: "x".repeat(900_000) })],
    ["an object for one", '{"protocol":{"toString":1,"toJSON":{}}}'],
    ["null for one", '{"protocol":null}'],
    ["many unknown keys", `{"protocol":1,${Array.from({ length: 60_000 }, (_, n) => `"k${n}":0`).join()}}`],
    ["one long unknown key", JSON.stringify({ protocol: 1, ["k".repeat(900_000)]: 0 })],
    ["a nested token", `{"protocol":1,"token":${nested(100_000)}}`],
    ["no JSON at all", nested(500_000).slice(1)],
  ])("%s is a plain 400, and little of it is said again", async (_, text) => {
    for (const path of ["/agent/v1/enroll", "/agent/v1/poll"]) {
      const headers = { "content-type": "application/json" };
      const response = await api.call("POST", path, { token: null, text, headers });
      const said = await response.text();
      expect([response.status, said.length < 30_000]).toEqual([400, true]);
    }
  });

  it("a number is said again: an agent of another version sent it", async () => {
    const { token } = await world.enrolled(api);
    const response = await api.post("/agent/v1/poll", world.pollBody({ protocol: 2 }), { token });
    expect((await response.json<Problem>()).detail).toContain(
      "speaks protocol 2, control speaks 1: upgrade the control plane",
    );
  });
});

describe("plain http", () => {
  const ask = (url: string, init: RequestInit = {}) => api.send(new Request(url, init));

  it.each([
    "/api/v1/apps",
    "/install.sh",
    "/agent/agent.mjs",
    "/cli.sh",
    "/agent/v1/enroll",
    "/api/openapi.json",
    "/metrics",
  ])("is refused for %s, whoever asks, without a redirect", async (path) => {
    const { authorization } = { authorization: `Bearer slu_${"x".repeat(43)}` };
    for (const host of [
      "control.test",
      "127.0.0.1.evil.net",
      "localhost.evil.net",
      "192.0.2.1",
      "CONTROL.test.",
    ]) {
      const response = await ask(`http://${host}${path}`, { headers: { authorization } });
      expect(await problemOf(response)).toBe("400 https_required");
    }
  });

  it.each(["localhost", "127.0.0.1", "127.8.9.1", "[::1]", "control.localhost"])(
    "is answered on the machine itself: %s",
    async (host) => {
      expect((await ask(`http://${host}:8787/api/openapi.json`)).status).toBe(200);
    },
  );

  it("is enough to see that control lives", async () => {
    expect((await ask("http://control.test/live")).status).toBe(200);
  });
});

describe("a sender that never comes to its end", () => {
  /** A few bytes now and then, for as long as anybody takes them. */
  const dripping = () => {
    let isTaken = true;
    let timer: ReturnType<typeof setInterval>;
    const body = new ReadableStream<Uint8Array>({
      start(to) {
        timer = setInterval(() => to.enqueue(new TextEncoder().encode(" ")), 5);
      },
      cancel() {
        isTaken = false;
        clearInterval(timer);
      },
    });
    return { body, isTaken: () => isTaken };
  };

  it.each([
    ["PUT", "/api/v1/apps/shop"],
    ["PUT", "/api/v1/apps/shop/envs/production/secrets/A"],
    ["POST", "/api/v1/apps/shop/envs/production/releases"],
    ["POST", "/agent/v1/enroll"],
    ["POST", "/agent/v1/poll"],
    ["POST", "/agent/v1/logs/x"],
    ["DELETE", "/api/v1/hosts/web-1"],
    ["POST", "/nowhere"],
  ])("is let go of: %s %s", async (method, path) => {
    const patient = new Api({ senderPatienceMs: 60 });
    const drip = dripping();
    const request = new Request(patient.request(method, path), { body: drip.body });
    const response = await patient.send(request);
    expect(await problemOf(response)).toBe("400 invalid_request");
    expect(drip.isTaken()).toBe(false);
  });
});

describe("a malformed token", () => {
  it.each(["Bearer", "Bearer nonsense", "Basic c2x1", "slu_abc", `Bearer "slu_${"x".repeat(43)}"`])(
    "%s is told that it is none, and not that one is missing",
    async (authorization) => {
      const response = await api.get("/api/v1/apps", { token: null, headers: { authorization } });
      expect(response.status).toBe(401);
      expect((await response.json<Problem>()).detail).toContain("has no token of Sluice's in it");
    },
  );
});

describe("a cursor", () => {
  it.each([
    "/api/v1/apps",
    "/api/v1/hosts",
    "/api/v1/tokens",
    "/api/v1/audit",
    "/api/v1/apps/shop/envs/production/releases",
  ])("of another list, or made up, is no page of %s", async (path) => {
    await world.applied(api);
    const cursors = ["AAAA", "!", "a", "c2hvcA==", btoa("-1"), btoa("SHOP!"), btoa("tok_ 1"), "____"];
    for (const cursor of cursors) {
      const response = await api.get(`${path}?cursor=${encodeURIComponent(cursor)}`);
      expect(`${cursor}: ${await problemOf(response)}`).toBe(`${cursor}: 400 invalid_request`);
    }
  });
});
