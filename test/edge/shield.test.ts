import { createHmac } from "node:crypto";
import { type Request, Response } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { tableOf } from "../support/tables.ts";

const SLOT = "sl-0123456789abcdef.tunnels.test";
const OTHER = "sl-fedcba9876543210.tunnels.test";
const FOREIGN = "sl-aaaaaaaaaaaaaaaa.attacker.test";
const KEY = "key-of-the-shield";
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds;
const proof = (slot: string, key = KEY, expiry = inSeconds(60)) =>
  `${expiry}.${createHmac("sha256", key).update(`sluice-slot:1:${slot}:${expiry}`).digest("hex")}`;
const PROOF = "x-sluice-slot-proof";
const ACCESS = { ACCESS_CLIENT_ID: "client.access", ACCESS_CLIENT_SECRET: "secret-1" };

let stack: EdgeStack;
/** What an edge asked for, in order: the host, and whether it showed a proof. */
let asked: { host: string; proof: string | null }[] = [];
/** What the slots' zone answers at its front door in the slot's place. */
let security: () => Response | undefined;
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
  const stopped = shown !== null && security();
  if (stopped) return stopped;
  const headers = Object.fromEntries(request.headers);
  if (shown !== null && url.host !== FOREIGN) {
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
  const origins = {
    "shop.other.test": `https://${SLOT}`,
    "shop.tunnels.test": `https://${SLOT}`,
    "plain.other.test": "http://10.0.0.5:8001",
    "elsewhere.other.test": `https://${FOREIGN}`,
  };
  const tables = Object.entries(origins).map(([hostname, origin]) =>
    tableOf([origin], { hostnames: [hostname] }),
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
  security = () => undefined;
  asked = [];
  reached = [];
});

describe("a slot's hostname", () => {
  it.each([
    ["nothing", {}],
    ["another slot's proof", { [PROOF]: proof(OTHER) }],
    ["a proof by another key", { [PROOF]: proof(SLOT, "guessed") }],
    ["a proof that has expired", { [PROOF]: proof(SLOT, KEY, inSeconds(-1)) }],
    ["a longer life than was signed", { [PROOF]: proof(SLOT).replace(/^[0-9]+/, String(inSeconds(9_999))) }],
    ["no proof at all", { [PROOF]: "proof" }],
  ])("answers 404 to whoever shows %s", async (_, headers) => {
    const answer = await visit(SLOT, { headers });
    expect([answer.status, answer.headers["x-sluice-shield"]]).toEqual([404, "1"]);
    expect(asked).toEqual([]);
  });

  it("lets the edge through from another zone, and keeps the proof from the app", async () => {
    const answer = await visit("shop.other.test", { method: "POST", path: "/buy", body: "one" });
    expect([answer.status, answer.text]).toEqual([200, "from the app"]);
    expect(asked.map(({ host }) => host)).toEqual([SLOT, SLOT]);
    const [expiry] = asked[0]?.proof?.split(".") ?? [];
    expect(asked.map((one) => one.proof)).toEqual([proof(SLOT, KEY, Number(expiry)), null]);
    expect(Math.abs(Number(expiry) - inSeconds(300))).toBeLessThan(10);
    expect(reached).toMatchObject([
      { body: "one", headers: { "x-forwarded-host": "shop.other.test", "x-forwarded-proto": "http" } },
    ]);
    expect(new URL(reached[0]?.url ?? "").pathname).toBe("/buy");
  });

  it("is reached without a proof from its own zone, where no route is in the way", async () => {
    expect((await visit("shop.tunnels.test")).text).toBe("from the app");
    expect(asked).toEqual([{ host: SLOT, proof: null }]);
  });

  it("behind a challenge of its zone's is not reached: said as such, never passed on as the app's answer", async () => {
    security = () =>
      new Response("<html>Just a moment", { status: 403, headers: { "cf-mitigated": "challenge" } });
    const answer = await visit("shop.other.test");
    expect([answer.status, answer.headers["cf-mitigated"]]).toEqual([502, undefined]);
    expect(answer.text).toContain("error challenge");
    expect(reached).toEqual([]);
    security = () => undefined;
    expect((await visit("shop.other.test")).text).toBe("from the app");
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

describe("a name in another zone that looks like a slot's", () => {
  it("is never shown the service token", async () => {
    expect((await visit("elsewhere.other.test")).status).toBe(200);
    expect(reached[0]?.url).toContain(FOREIGN);
    expect(reached[0]?.headers).not.toHaveProperty("cf-access-client-secret");
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
