import { afterEach, describe, expect, it, vi } from "vitest";
import { probeInstance } from "../../../src/control/environment/probe.ts";
import { reach } from "../../../src/control/environment/reach.ts";
import type { InstanceFacts } from "../../../src/domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../../src/domain/rollout/release.ts";
import { aSpec } from "../../domain/rollout/spec.ts";

const SLOT = "https://sl-0123456789abcdef.example.com";
const BY = {
  SLOT_ZONE: "example.com",
  SHIELD_KEY: "key",
  ACCESS_CLIENT_ID: "id.access",
  ACCESS_CLIENT_SECRET: "secret",
};
const LOGIN = "https://acme.cloudflareaccess.com/cdn-cgi/access/login/sl-1.example.com?kid=1";
const PROOF = "x-sluice-slot-proof";

/** Answers each fetch with the next response; what was sent is kept. */
function network(...answers: Response[]): Headers[] {
  const sent: Headers[] = [];
  vi.stubGlobal("fetch", async (_: string, init: RequestInit) => {
    sent.push(new Headers(init.headers));
    return answers[sent.length - 1];
  });
  return sent;
}
afterEach(() => vi.unstubAllGlobals());

const shield = () => new Response("Not found", { status: 404, headers: { "x-sluice-shield": "1" } });
const ask = (origin: string, by: Parameters<typeof reach>[1] = BY) =>
  reach({ origin, path: "/ready", publicHost: "shop.example.com" }, by, AbortSignal.timeout(1_000));

describe("control's own way to a slot", () => {
  it("shows the proof to a shield that is in the way, as the edge makes it", async () => {
    const sent = network(shield(), new Response("ok"));
    expect(await (await ask(SLOT)).text()).toBe("ok");
    const key = await crypto.subtle.importKey(
      "raw",
      new TextEncoder().encode("key"),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    );
    const [expiry = "", signature] = sent[1]?.get(PROOF)?.split(".") ?? [];
    const slot = new TextEncoder().encode(`sluice-slot:1:sl-0123456789abcdef.example.com:${expiry}`);
    const proof = [...new Uint8Array(await crypto.subtle.sign("HMAC", key, slot))];
    expect(sent[0]?.get(PROOF)).toBe(null);
    expect(signature).toBe(proof.map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    // Whoever it leaks to can use it for minutes, not for ever.
    expect(Number(expiry) * 1_000 - Date.now()).toBeLessThanOrEqual(300_000);
  });

  it("shows it to nobody else: an app's own 404 is its answer", async () => {
    const sent = network(new Response("no such page", { status: 404 }));
    expect((await ask(SLOT)).status).toBe(404);
    expect(sent.map((headers) => headers.get(PROOF))).toEqual([null]);
  });

  it("is refused where the shield has another key", async () => {
    network(shield(), shield());
    expect((await ask(SLOT)).status).toBe(404);
  });

  it("asks as a visitor would, by the app's public name and https", async () => {
    const sent = network(new Response());
    await ask(SLOT);
    expect(sent[0]?.get("x-forwarded-host")).toBe("shop.example.com");
    expect(sent[0]?.get("x-forwarded-proto")).toBe("https");
  });

  it("carries the service token to slots, and to no other address", async () => {
    const sent = network(new Response(), new Response(), new Response());
    await ask(SLOT);
    await ask("http://10.0.0.5:8001");
    await ask("https://evil.test");
    expect(sent.map((headers) => headers.get("cf-access-client-secret"))).toEqual(["secret", null, null]);
  });
});

describe("a probe that only asks whether the way is open", () => {
  const spec = aSpec({});
  const readiness = { ...spec.health.readiness, port: spec.port + 1 };
  const release = { id: "rel_1", spec: { ...spec, health: { ...spec.health, readiness } } } as ReleaseFacts;
  const instance = { id: "i1", origin: SLOT, verifiedAt: 1 } as InstanceFacts;
  const html = (status: number, headers: Record<string, string>) =>
    new Response("<html>Just a moment", { status, headers });

  it.each([
    ["a challenge", () => html(403, { "cf-mitigated": "challenge" }), "Bot Fight Mode"],
    ["Access's login", () => html(302, { location: LOGIN }), "Cloudflare Access"],
  ])("does not take %s of Cloudflare's for the app", async (_what, answer, said) => {
    network(answer());
    expect((await probeInstance(instance, release, {})).cause).toContain(said);
  });

  it("takes whatever else the app says", async () => {
    network(html(403, {}));
    expect((await probeInstance(instance, release, {})).cause).toBeNull();
  });
});
