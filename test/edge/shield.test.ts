import { createHmac } from "node:crypto";
import { type Request, Response } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeStack, startEdgeStack } from "../support/edge-stack.ts";
import { ask } from "../support/http-client.ts";
import { tableOf } from "../support/tables.ts";

const SLOT = "sl-0123456789abcdef.tunnels.test";
const OTHER = "sl-fedcba9876543210.tunnels.test";
const KEY = "key-of-the-shield";
const proof = (slot: string, key = KEY) => createHmac("sha256", key).update(slot).digest("hex");
const PROOF = "x-sluice-slot-proof";
const ACCESS = { ACCESS_CLIENT_ID: "client.access", ACCESS_CLIENT_SECRET: "secret-1" };

let stack: EdgeStack;
/** What an edge asked for, in order: the host, and whether it showed a proof. */
let asked: { host: string; proof: string | null }[] = [];
/** What reached the app. */
let reached: { url: string; headers: Record<string, string>; body: string }[] = [];

/**
 * What Cloudflare does with a Worker's fetch: to a hostname of its own zone it goes to the origin, past all routes; to another
 * zone's by the front door, where that zone's Worker is. Only the proof tells this test which of the two it was.
 */
async function cloudflare(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const shown = request.headers.get(PROOF);
  asked.push({ host: url.host, proof: shown });
  const headers = Object.fromEntries(request.headers);
  if (shown !== null) {
    const body = Buffer.from(await request.arrayBuffer());
    const { status, text } = await visit(url.host, {
      path: url.pathname,
      method: request.method,
      headers,
      body,
    });
    return new Response(text, { status });
  }
  reached.push({ url: request.url, headers, body: await request.text() });
  return new Response("from the app");
}

const visit = (host: string, more: Partial<Parameters<typeof ask>[0]> = {}) =>
  ask({ port: stack.ports[0] ?? 0, host, ...more, headers: { ...more.headers, host } });

beforeAll(async () => {
  const tables = ["shop.other.test", "shop.tunnels.test", "plain.other.test"].map((hostname) =>
    tableOf([hostname.startsWith("plain") ? "http://10.0.0.5:8001" : `https://${SLOT}`], {
      hostnames: [hostname],
    }),
  );
  stack = await startEdgeStack(
    {
      table: (hostname) => {
        const table = tables.find(({ hostnames }) => hostnames.includes(hostname));
        return table ? { kind: "table", table } : { kind: "unknown" };
      },
      meter: () => {},
    },
    { vars: { SLOT_ZONE: "tunnels.test", SHIELD_KEY: KEY, ...ACCESS }, outbound: cloudflare },
  );
});
afterAll(() => stack.dispose());
beforeEach(() => {
  asked = [];
  reached = [];
});

describe("a slot's hostname", () => {
  it.each([
    ["nothing", {}],
    ["another slot's proof", { [PROOF]: proof(OTHER) }],
    ["a proof by another key", { [PROOF]: proof(SLOT, "guessed") }],
    ["no proof at all", { [PROOF]: "proof" }],
  ])("answers 404 to whoever shows %s", async (_, headers) => {
    const answer = await visit(SLOT, { headers });
    expect([answer.status, answer.headers["x-sluice-shield"]]).toEqual([404, "1"]);
    expect(asked).toEqual([]);
  });

  it("lets the edge through from another zone, and keeps the proof from the app", async () => {
    const answer = await visit("shop.other.test", { method: "POST", path: "/buy", body: "one" });
    expect([answer.status, answer.text]).toEqual([200, "from the app"]);
    expect(asked).toEqual([
      { host: SLOT, proof: proof(SLOT) },
      { host: SLOT, proof: null },
    ]);
    expect(reached).toMatchObject([
      { body: "one", headers: { "x-forwarded-host": "shop.other.test", "x-forwarded-proto": "http" } },
    ]);
    expect(new URL(reached[0]?.url ?? "").pathname).toBe("/buy");
  });

  it("is reached without a proof from its own zone, where no route is in the way", async () => {
    expect((await visit("shop.tunnels.test")).text).toBe("from the app");
    expect(asked).toEqual([{ host: SLOT, proof: null }]);
  });

  it("gets no proof from outside past the edge", async () => {
    await visit("shop.tunnels.test", { headers: { [PROOF]: proof(SLOT) } });
    expect(reached[0]?.headers).not.toHaveProperty(PROOF);
  });
});

describe("a slot behind Cloudflare Access", () => {
  it("is opened with the edge's service token, which a visitor can't send", async () => {
    await visit("shop.tunnels.test", {
      headers: { "CF-Access-Client-Id": "mine", "CF-Access-Client-Secret": "mine" },
    });
    expect(reached[0]?.headers).toMatchObject({
      "cf-access-client-id": "client.access",
      "cf-access-client-secret": "secret-1",
    });
  });
});

describe("a host with an address of its own", () => {
  it("is never shown the service token", async () => {
    await visit("plain.other.test");
    expect(reached[0]?.headers).not.toHaveProperty("cf-access-client-secret");
  });

  it("is never shown a proof", async () => {
    expect((await visit("plain.other.test")).text).toBe("from the app");
    expect(asked).toEqual([{ host: "10.0.0.5:8001", proof: null }]);
  });
});

describe("an app whose hostname looks like a slot's", () => {
  it("is no slot", async () => {
    const answer = await visit("sl-shop.tunnels.test");
    expect([answer.status, answer.headers["x-sluice-error"]]).toEqual([404, "hostname_unknown"]);
  });
});
