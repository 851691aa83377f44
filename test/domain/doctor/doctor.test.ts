import { describe, expect, test } from "vitest";
import { checkHost, checkHostname, type HostFindings, isOlder } from "../../../src/domain/doctor/doctor.ts";

const NOW = 1_790_000_000_000;
const GB = 1024 ** 3;

const goodFacts = {
  engine: { version: "27.1", apiVersion: "1.46", storageDriver: "overlay2", liveRestore: true },
  ports: { first: 20_000, last: 20_007 },
  disk: { path: "/var/lib/docker", totalBytes: 100 * GB, freeBytes: 60 * GB },
  policy: { file: "/etc/sluice/policy.yaml", images: ["ghcr.io/acme/*"] },
  tunnel: { state: "connected", version: "2026.8.2", configVersion: 3, readyConnections: 4 },
} as const;

const host = (over: Partial<HostFindings> = {}): HostFindings => ({
  name: "web-1",
  runtime: "docker",
  agentVersion: "1.2.0",
  lastSeenAt: NOW - 4_000,
  sharedAt: null,
  staleTokenAt: null,
  clockSkewMs: 120,
  slots: 8,
  freeSlots: 6,
  aside: [],
  facts: goodFacts,
  tunnel: { state: "ready", cause: null, configVersion: 3 },
  ...over,
});

const examined = (over: Partial<HostFindings> = {}) =>
  checkHost(host(over), { now: NOW, newestAgent: "1.2.0" });
const only = (id: string, over: Partial<HostFindings>) => {
  const found = examined(over).find((check) => check.id === id);
  return found ?? expect.fail(`no check ${id}`);
};

describe("a host", () => {
  test("that is well has nothing but good checks, each with its values", () => {
    expect(examined().map(({ status }) => status)).toEqual(Array(10).fill("ok"));
    expect(examined().map(({ detail }) => detail)).toEqual([
      "agent heard 4 s ago",
      "one machine uses its token",
      "agent 1.2.0",
      "clock +0.1 s against control",
      "Docker 27.1 (API 1.46, overlay2)",
      "64.4 GB of 107 GB free at /var/lib/docker",
      "6 of 8 slots free",
      "ports 20000 to 20007 are the slots' own",
      "policy /etc/sluice/policy.yaml: images ghcr.io/acme/*",
      "cloudflared 2026.8.2, 4 connections",
    ]);
  });

  test.each<[string, Partial<HostFindings>, "warn" | "fail", string]>([
    ["host.agent", { lastSeenAt: null }, "fail", "never heard"],
    ["host.token", { sharedAt: NOW - 120_000 }, "fail", "two machines use its token, last seen 2 min ago"],
    ["host.token", { staleTokenAt: NOW - 60_000 }, "warn", "a token that was its before was tried 1 min ago"],
    ["host.agent", { lastSeenAt: NOW - 90_000 }, "fail", "90 s ago"],
    ["host.version", { agentVersion: "1.1.9" }, "warn", "agent 1.1.9, the newest here is 1.2.0"],
    ["host.clock", { clockSkewMs: -5_000 }, "warn", "clock -5.0 s"],
    ["host.clock", { clockSkewMs: 300_000 }, "fail", "clock +300.0 s"],
    [
      "host.engine",
      { facts: { ...goodFacts, engine: { problem: "no permission" } } },
      "fail",
      "no permission",
    ],
    [
      "host.engine",
      { facts: { ...goodFacts, engine: { ...goodFacts.engine, liveRestore: false } } },
      "warn",
      "all containers stop with it",
    ],
    ["host.slots", { freeSlots: 0 }, "warn", "0 of 8"],
    [
      "host.slots",
      { aside: [{ slot: 3, cause: "port 20003 is taken by something else" }] },
      "warn",
      "slot 3 is set aside",
    ],
    [
      "host.ports",
      {
        facts: { ...goodFacts, ports: { first: 36_000, last: 36_007, problem: "they lie there: move them" } },
      },
      "warn",
      "they lie there",
    ],
    [
      "host.tunnel",
      { tunnel: { state: "pending", cause: "429", configVersion: null } },
      "fail",
      "pending: 429",
    ],
    ["host.tunnel", { facts: { ...goodFacts, tunnel: undefined } }, "fail", "no cloudflared"],
    [
      "host.tunnel",
      { facts: { ...goodFacts, tunnel: { state: "down", cause: "UDP 7844 is blocked" } } },
      "fail",
      "UDP 7844 is blocked",
    ],
    [
      "host.tunnel",
      { tunnel: { state: "ready", cause: null, configVersion: 4 } },
      "fail",
      "runs ingress rules 3, control wrote 4",
    ],
    [
      "host.tunnel",
      { facts: { ...goodFacts, tunnel: { ...goodFacts.tunnel, readyConnections: 1 } } },
      "warn",
      "1 connections: one is no spare",
    ],
  ])("%s: %j is a %s", (id, over, status, detail) => {
    const check = only(id, over);
    expect(check).toMatchObject({ status, subject: "web-1", fix: expect.any(String) });
    expect(check.detail).toContain(detail);
  });

  test.each([
    [100, 60, "ok"],
    [100, 9.9, "warn"],
    [100, 4.9, "fail"],
    [20, 2.9, "warn"],
    [20, 0.9, "fail"],
  ])("with a disk of %d GB and %d GB free is %s", (total, free, status) => {
    const disk = { path: "/", totalBytes: total * GB, freeBytes: free * GB };
    expect(only("host.disk", { facts: { ...goodFacts, disk } }).status).toBe(status);
  });

  test("that has no tunnel, no engine and no facts yet is not blamed for it", () => {
    const bare = examined({ tunnel: null, runtime: "process", facts: null, clockSkewMs: null });
    expect(bare.filter(({ status }) => status === "fail" || status === "warn")).toEqual([]);
  });
});

describe("a public hostname", () => {
  const found = (
    hostname: string,
    routeState: "pending" | "ready" | "foreign" | null,
    cause: string | null = null,
  ) => ({
    hostname,
    environment: "shop/production",
    routeState,
    routeCause: cause,
  });

  test("is fine with a route and one label below its zone", () => {
    const checks = checkHostname(found("shop.example.com", "ready"), "example.com");
    expect(checks.map(({ status }) => status)).toEqual(["ok", "ok"]);
  });

  test("without a route says Cloudflare's cause", () => {
    const [route] = checkHostname(found("shop.example.com", "pending", "no zone"), "example.com");
    expect(route).toMatchObject({ status: "fail", detail: "no route to the edge: no zone" });
  });

  test("deeper than one label is not covered by Universal SSL, and a name that is gets named", () => {
    const [, certificate] = checkHostname(found("a.shop.example.com", "ready"), "example.com");
    expect(certificate).toMatchObject({ status: "warn", fix: expect.stringContaining("a-shop.example.com") });
  });

  test("of an installation without Cloudflare, or of another zone, is not judged by this one's rules", () => {
    expect(checkHostname(found("a.shop.test", null), null).map(({ status }) => status)).toEqual([
      "skip",
      "skip",
    ]);
    const [, certificate] = checkHostname(found("a.b.other.com", "ready"), "example.com");
    expect(certificate?.status).toBe("skip");
  });
});

test("versions are compared by number, and what is no version is older than nothing", () => {
  expect(isOlder("1.9.0", "1.10.0")).toBe(true);
  expect(isOlder("1.10.0", "1.9.9")).toBe(false);
  expect(isOlder("1.0.0", "1.0.0")).toBe(false);
  expect(isOlder("dev", "1.0.0")).toBe(false);
});
