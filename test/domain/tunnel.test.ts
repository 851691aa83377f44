import { describe, expect, it } from "vitest";
import {
  accessApps,
  ingressOf,
  judgeRecords,
  planRecords,
  retryAfter,
  routeOf,
  sameIngress,
  tunnelName,
  zoneCandidates,
} from "../../src/domain/tunnel.ts";

const slot = (n: number) => ({ n, hostPort: 20_000 + n, hostname: `sl-${n}.example.com` });
const record = (name: string, more: object = {}) => ({
  ...{ id: `id-${name}`, name, type: "CNAME", content: "t.cfargotunnel.com", proxied: true },
  ...more,
});

describe("ingress", () => {
  it("leads each slot's hostname to its port, and everything else to 404", () => {
    expect(ingressOf([slot(0)])).toEqual([
      {
        hostname: "sl-0.example.com",
        service: "http://127.0.0.1:20000",
        originRequest: { connectTimeout: 3 },
      },
      { service: "http_status:404" },
    ]);
  });

  it("is written only when it differs: in its order, ports and time limit, not in how the catch-all is spelt", () => {
    const wanted = ingressOf([slot(0), slot(1)]);
    const spelt = [...wanted.slice(0, -1), { hostname: "", service: "http_status:404" }];
    expect(sameIngress(spelt, wanted)).toBe(true);
    expect(sameIngress(null, wanted)).toBe(false);
    expect(sameIngress(ingressOf([slot(1), slot(0)]), wanted)).toBe(false);
    expect(sameIngress(ingressOf([slot(0)]), wanted)).toBe(false);
    const slow = wanted.map((rule) => ({ ...rule, originRequest: { connectTimeout: 30 } }));
    expect(sameIngress(slow, wanted)).toBe(false);
  });
});

describe("records of slots", () => {
  it("are made where there is none, and mended where they lead elsewhere or past the proxy", () => {
    const found = [
      record("a"),
      record("b", { content: "old.cfargotunnel.com" }),
      record("c", { proxied: false }),
      record("d", { type: "A", content: "192.0.2.1" }),
      record("stranger"),
    ];
    const plan = planRecords(found, ["a", "b", "c", "d", "e"], "t.cfargotunnel.com");
    expect(plan.make).toEqual(["e"]);
    expect(plan.mend.map(({ name }) => name)).toEqual(["b", "c", "d"]);
    expect(plan.right.map(({ name }) => name)).toEqual(["a"]);
  });
});

describe("a route", () => {
  const found = [
    { id: "1", pattern: "A.example.com/*", script: "edge" },
    { id: "2", pattern: "b.example.com/*", script: null },
    { id: "3", pattern: "c.example.com/api/*", script: "edge" },
  ];
  it.each([
    ["a.example.com", { kind: "right", id: "1" }],
    ["b.example.com", { kind: "other", id: "2", script: null }],
    ["c.example.com", { kind: "absent" }],
  ])("of %s", (hostname, state) => {
    expect(routeOf(found, hostname, "edge")).toEqual(state);
  });
});

describe("a public hostname", () => {
  it("is looked for in the longest zone that could hold it", () => {
    expect(zoneCandidates("a.b.example.com")).toEqual(["a.b.example.com", "b.example.com", "example.com"]);
  });

  it("is judged by its addresses: one past the proxy outweighs the others", () => {
    const bare = record("x", { type: "AAAA", proxied: false });
    expect(judgeRecords([record("x", { type: "TXT", proxied: false })])).toEqual({
      ok: true,
      value: "absent",
    });
    expect(judgeRecords([record("x", { type: "A" })])).toEqual({ ok: true, value: "proxied" });
    expect(judgeRecords([record("x", { type: "A" }), bare])).toEqual({ ok: false, error: bare });
  });
});

describe("names at Cloudflare", () => {
  const host = { id: "host_01m3250v00y37bdnm0pxmy3m6y", name: "web-1" };

  it("tell a host from the one that had its name before", () => {
    expect(tunnelName(host)).toBe("sluice-web-1-pxmy3m6y");
  });

  it("cut slots into Access applications of five", () => {
    const apps = accessApps(
      host,
      [0, 1, 2, 3, 4, 5, 6].map((n) => slot(n).hostname),
    );
    expect(apps.map(({ name, domains }) => `${name}: ${domains.length}`)).toEqual([
      "sluice-web-1-pxmy3m6y-1: 5",
      "sluice-web-1-pxmy3m6y-2: 2",
    ]);
  });
});

describe("the wait after a failure", () => {
  it("doubles, up to five minutes", () => {
    expect([0, 1, 2, 7, 8, 99].map(retryAfter)).toEqual([2_000, 4_000, 8_000, 256_000, 300_000, 300_000]);
  });
});
