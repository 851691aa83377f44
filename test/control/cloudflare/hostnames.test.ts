import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { tendHostnames } from "../../../src/control/cloudflare/tend-hostnames.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { environmentSchema } from "../../../src/protocol/api/environments.ts";
import type { DnsRecord } from "../../support/cloudflare/world.ts";
import { waitFor } from "../../support/patience.ts";
import { Invocation } from "../support/invocation.ts";
import * as world from "../support/world.ts";
import { Account } from "./support.ts";

let account: Account;
beforeEach(async () => {
  account = await Account.open({ zones: ["example.com", "shop.example.com"] });
});

const manifest = (...hostnames: string[]) =>
  world.manifest("shop").replace("[shop.example.com]", `[${hostnames.join(", ")}]`);
const apply = async (...hostnames: string[]) => {
  const response = await account.api.apply("shop", manifest(...hostnames.map((name) => `"${name}"`)));
  if (!response.ok) throw new Error(await response.text());
};
const claim = async (pattern: string) => {
  const response = await account.api.put(`/api/v1/apps/shop/hostnames/${pattern}`, { claim: true });
  if (!response.ok) throw new Error(await response.text());
};
/** The sweep, so many minutes later. */
const later = async (minutes: number) => {
  account.api.time += minutes * 60_000;
  await account.tendHostnames();
};
const routes = async () =>
  environmentSchema.parse(await (await account.api.get("/api/v1/apps/shop/envs/production")).json()).routes;
const ready = (hostname: string) => ({ hostname, state: "ready", cause: null });
const found = async () => {
  const look = await account.look();
  const zone = (id: string) => look.zones.find((one) => one.id === id)?.name;
  return {
    routes: look.routes.map((route) => `${zone(route.zone)}: ${route.pattern} → ${route.script}`),
    records: look.records.map(({ name, type, content, proxied }) => `${name} ${type} ${content} ${proxied}`),
  };
};
const put = async (record: Partial<DnsRecord>) => {
  const { zones } = await account.look();
  const rest = {
    id: "theirs",
    type: "A",
    name: "www.example.com",
    content: "192.0.2.1",
    ttl: 1,
    comment: null,
  };
  await account.stage({ do: "put", record: { ...rest, zone: zones[0]?.id ?? "", proxied: true, ...record } });
};
const goLive = async () => {
  await env.DB.prepare("UPDATE environments SET stable_release_id = 'rel_1'").run();
};

describe("a public hostname", () => {
  it("that nothing answers yet gets a route and a proxied record of its own, in the innermost zone that holds it", async () => {
    await apply("www.example.com", "a.shop.example.com");
    expect(await routes()).toEqual([ready("a.shop.example.com"), ready("www.example.com")]);
    expect(await found()).toEqual({
      routes: [
        "shop.example.com: a.shop.example.com/* → sluice-edge",
        "example.com: www.example.com/* → sluice-edge",
      ],
      records: ["a.shop.example.com AAAA 100:: true", "www.example.com AAAA 100:: true"],
    });
    const calls = (await account.calls()).length;
    await later(10);
    await apply("www.example.com", "a.shop.example.com");
    expect(await account.calls(calls)).toEqual([]);
  });

  it("that leaves the manifest takes its route and record with it, and nothing else", async () => {
    await put({ name: "kept.example.com" });
    await goLive();
    await claim("kept.example.com");
    await apply("www.example.com", "kept.example.com");
    await goLive();
    await later(1);
    expect((await routes()).map(({ state }) => state)).toEqual(["ready", "ready"]);
    await apply("other.example.com");
    await later(5);
    expect(await found()).toEqual({
      routes: ["example.com: other.example.com/* → sluice-edge"],
      records: ["kept.example.com A 192.0.2.1 true", "other.example.com AAAA 100:: true"],
    });
  });

  it("that is a path has a route of its own and shares its name's record, which stays as long as anything needs it", async () => {
    await apply("www.example.com/Api");
    expect(await routes()).toEqual([ready("www.example.com/Api")]);
    await apply("www.example.com/Api", "www.example.com");
    await later(1);
    expect(await routes()).toEqual([ready("www.example.com"), ready("www.example.com/Api")]);
    const whole = "example.com: www.example.com/* → sluice-edge";
    const part = "example.com: www.example.com/Api/* → sluice-edge";
    const records = ["www.example.com AAAA 100:: true"];
    expect(await found()).toEqual({ routes: expect.arrayContaining([whole, part]), records });
    await apply("www.example.com/Api");
    await later(5);
    expect(await found()).toEqual({ routes: [part], records });
    await apply("other.example.com");
    await later(5);
    expect((await found()).records).toEqual(["other.example.com AAAA 100:: true"]);
  });

  it("that is a path of another site's name waits for a claim, and takes nothing but the path", async () => {
    await put({});
    await apply("www.example.com/api");
    expect((await routes())[0]).toMatchObject({
      state: "foreign",
      cause: expect.stringContaining("another site"),
    });
    await claim("www.example.com%2Fapi");
    await goLive();
    await later(6);
    expect(await found()).toEqual({
      routes: ["example.com: www.example.com/api/* → sluice-edge"],
      records: ["www.example.com A 192.0.2.1 true"],
    });
  });

  it("that comes back while its route is taken away has one again", async () => {
    await apply("www.example.com");
    account.api.time += 600_000;
    await account.stage({ do: "fail", fault: { method: "DELETE", path: "routes", answer: 500 } });
    await apply("other.example.com");
    await apply("www.example.com");
    await later(5);
    await later(5);
    expect(await routes()).toEqual([ready("www.example.com")]);
    expect((await found()).routes).toEqual(["example.com: www.example.com/* → sluice-edge"]);
  });

  it("with a record of its own goes on as it was until a release is live", async () => {
    await put({});
    await claim("www.example.com");
    await apply("www.example.com");
    expect(await routes()).toEqual([
      {
        hostname: "www.example.com",
        state: "pending",
        cause: expect.stringContaining("until a release is live"),
      },
    ]);
    expect((await found()).routes).toEqual([]);
    await goLive();
    await later(1);
    expect(await routes()).toEqual([ready("www.example.com")]);
    expect(await found()).toEqual({
      routes: ["example.com: www.example.com/* → sluice-edge"],
      records: ["www.example.com A 192.0.2.1 true"],
    });
  });

  it("with an unproxied record is left alone, and says what to do; once that was done, it is led to the edge", async () => {
    await put({ proxied: false });
    await claim("*.example.com");
    await apply("www.example.com");
    const [route] = await routes();
    expect(route).toMatchObject({ state: "foreign" });
    expect(route?.cause).toContain("unproxied A record (192.0.2.1)");
    expect((await found()).records).toEqual(["www.example.com A 192.0.2.1 false"]);
    const { zones } = await account.look();
    const url = `${env.CLOUDFLARE_API_URL}/zones/${zones[0]?.id}/dns_records/theirs`;
    const headers = { authorization: `Bearer ${env.CLOUDFLARE_API_TOKEN}` };
    await fetch(url, { method: "PATCH", headers, body: JSON.stringify({ proxied: true }) });
    await goLive();
    await later(6);
    expect(await routes()).toEqual([ready("www.example.com")]);
  });

  it.each([
    ["a record", {}, null, "its A record (192.0.2.1)"],
    [
      "control or another Worker's custom domain",
      { type: "AAAA", content: "100::" },
      null,
      "its AAAA record (100::)",
    ],
    ["a Worker under a wildcard", null, "*.example.com/*", "the Worker route *.example.com/*"],
    ["a Worker on a path", null, "www.example.com/blog/*", "the Worker route www.example.com/blog/*"],
    ["a Worker on all that ends so", null, "*example.com/*", "the Worker route *example.com/*"],
  ] as const)(
    "that is a site by %s stays so until an administrator claims it",
    async (_, record, pattern, site) => {
      const { zones } = await account.look();
      if (record) await put(record as Partial<DnsRecord>);
      const route = { id: "r", zone: zones[0]?.id ?? "", pattern: pattern ?? "", script: "blog" };
      if (pattern) await account.stage({ do: "put", route });
      const before = await found();
      await apply("www.example.com");
      await goLive();
      await later(10);
      const [state] = await routes();
      expect(state).toMatchObject({ state: "foreign" });
      expect(state?.cause).toContain(`leads to another site by ${site}`);
      expect(state?.cause).toContain("sluice hostnames allow www.example.com --claim -a shop");
      expect(await found()).toEqual(before);
      await claim("www.example.com");
      expect(await routes()).toEqual([ready("www.example.com")]);
      expect((await found()).routes).toContain("example.com: www.example.com/* → sluice-edge");
    },
  );

  it("that is control's own is led nowhere, whoever asks and however long it waits", async () => {
    const pay = await account.api.token("deployer", { app: "shop" });
    for (const name of ["control.test", "sluice.example.com", "SLUICE.example.com."]) {
      const sent = { text: manifest(name), token: pay };
      const response = await account.api.call("PUT", "/api/v1/apps/shop", sent);
      expect([403, 422]).toContain(response.status);
    }
    await later(10);
    expect(await found()).toEqual({ routes: [], records: [] });
  });

  it("under a proxied wildcard needs no record", async () => {
    await put({ name: "*.example.com" });
    await apply("www.example.com");
    expect(await routes()).toEqual([ready("www.example.com")]);
    expect((await found()).records).toEqual(["*.example.com A 192.0.2.1 true"]);
  });

  it("that is a wildcard gets one route and record for all below it", async () => {
    await claim("*.shop.example.com");
    await apply("*.shop.example.com");
    expect(await routes()).toEqual([ready("*.shop.example.com")]);
    expect(await found()).toEqual({
      routes: ["shop.example.com: *.shop.example.com/* → sluice-edge"],
      records: ["*.shop.example.com AAAA 100:: true"],
    });
  });

  it("that is a wildcard takes no site below it that nobody claimed", async () => {
    await put({
      name: "blog.shop.example.com",
      zone: (await account.look()).zones.find(({ name }) => name === "shop.example.com")?.id ?? "",
    });
    await apply("*.shop.example.com");
    expect(await routes()).toMatchObject([
      { state: "foreign", cause: expect.stringContaining("blog.shop.example.com") },
    ]);
    await claim("*.shop.example.com");
    await later(10);
    expect(await routes()).toEqual([ready("*.shop.example.com")]);
  });

  it("in nobody's zone says that its record is to be made by hand", async () => {
    await apply("www.elsewhere.org");
    const [route] = await routes();
    expect(route).toMatchObject({ state: "foreign" });
    expect(route?.cause).toMatch(/no zone of this Cloudflare account holds www\.elsewhere\.org.*by hand/);
  });

  it("on whose route another Worker runs is left alone", async () => {
    const { zones } = await account.look();
    const pattern = "www.example.com/*";
    await account.stage({ do: "put", route: { id: "r", zone: zones[0]?.id ?? "", pattern, script: "blog" } });
    await apply("www.example.com");
    expect(await routes()).toMatchObject([{ state: "foreign", cause: /runs the Worker blog/ }]);
    expect(await found()).toEqual({ routes: ["example.com: www.example.com/* → blog"], records: [] });
  });

  it("whose route to the edge a person made keeps it when it goes", async () => {
    const { zones } = await account.look();
    const pattern = "www.example.com/*";
    await account.stage({
      do: "put",
      route: { id: "r", zone: zones[0]?.id ?? "", pattern, script: "sluice-edge" },
    });
    await apply("www.example.com");
    await apply("other.example.com");
    await later(5);
    expect((await found()).routes).toContain("example.com: www.example.com/* → sluice-edge");
    expect((await found()).records).toEqual(["other.example.com AAAA 100:: true"]);
  });

  it("is led to the edge with many others at once, in as many runs as it takes, each within Free's limits", async () => {
    Object.assign(account.api.env, { HOST_LINK: env.HOST_LINK });
    const names = Array.from({ length: 12 }, (_, index) => `www.shop-${index}.eu.shop.example.com`);
    const allReady = (count: number) =>
      waitFor(async () =>
        expect((await routes()).map(({ state }) => state)).toEqual(Array(count).fill("ready")),
      );
    await apply(...names);
    await allReady(12);
    // No run failed in between.
    const told = await account.events("hostname.routed");
    expect(told.toSorted()).toEqual(names.map((name) => `${name} leads to the edge`).toSorted());
    // What was made is taken away once nobody can be making it any more.
    const grownOld = () => env.DB.prepare("UPDATE cloudflare_resources SET created_at = 0").run();
    await grownOld();
    await apply(...Array.from({ length: 8 }, (_, index) => `*.of-${index}.eu.shop.example.com`));
    await allReady(8);
    await waitFor(async () => expect((await found()).records).toHaveLength(8));
    await apply("*.of-0.eu.shop.example.com");
    await grownOld();
    const spent = new Invocation();
    await spent.run(() => sweep(account.api.env, account.api.time));
    expect(spent.queries).toBeLessThanOrEqual(30);
    expect(spent.subrequests).toBe(0);
    await waitFor(async () => expect((await found()).records).toHaveLength(1));
  });

  it("is in the audit log of its app, once for each thing that is said of it", async () => {
    await account.stage({ do: "fail", fault: { method: "POST", answer: 403, times: 2 } });
    await apply("www.example.com");
    await later(2);
    await later(2);
    const events = await account.events("hostname.routed");
    expect(events).toEqual([
      expect.stringContaining("give it the permission `Zone › Workers Routes › Edit`"),
      "www.example.com leads to the edge",
    ]);
  });
});

const CALLS = [
  "GET zone www.example.com",
  "GET zone example.com",
  "GET records",
  "GET routes",
  "POST route",
  "GET wildcard",
  "POST record",
];
const FAULTS = [
  { answer: 500 as const, afterWork: true },
  { answer: 429 as const, retryAfterS: 20 },
];

describe("a hostname's run that failed half-way", () => {
  it.each(CALLS.flatMap((call, skip) => FAULTS.map((fault) => ({ call, skip, fault }))))(
    "makes nothing twice, and leaves nothing: $call, $fault",
    async ({ skip, fault }) => {
      await account.stage({ do: "fail", fault: { skip, ...fault } });
      await apply("www.example.com");
      await waitFor(async () => expect(await routes()).toMatchObject([{ state: "pending" }]));
      await later(2);
      expect(await routes()).toEqual([ready("www.example.com")]);
      expect(await found()).toEqual({
        routes: ["example.com: www.example.com/* → sluice-edge"],
        records: ["www.example.com AAAA 100:: true"],
      });
      account.api.time += 600_000;
      await apply("b.elsewhere.org");
      expect(await found()).toEqual({ routes: [], records: [] });
    },
  );

  it.each([
    ["routes", { maxRoutes: 1 }, "You have exceeded the limit of 1 routes (10034)"],
    ["records", { maxRecords: 1 }, "Record quota exceeded. (81045)"],
  ])(
    "at the zone's limit of %s waits and says so, and goes on once there is room",
    async (_what, limit, words) => {
      account = await Account.open({ zones: [{ name: "example.com", ...limit }] });
      await put({ name: "other.example.com" });
      const { zones } = await account.look();
      const route = {
        id: "theirs-too",
        zone: zones[0]?.id ?? "",
        pattern: "other.example.com/*",
        script: null,
      };
      await account.stage({ do: "put", route });
      await apply("www.example.com");
      await waitFor(async () =>
        expect(await routes()).toMatchObject([{ state: "pending", cause: expect.stringContaining(words) }]),
      );
      for (const id of ["theirs", "theirs-too"]) await account.stage({ do: "take", id });
      await later(5);
      expect(await routes()).toEqual([ready("www.example.com")]);
      expect(await found()).toEqual({
        routes: ["example.com: www.example.com/* → sluice-edge"],
        records: ["www.example.com AAAA 100:: true"],
      });
    },
  );

  it("leaves nothing behind either when the hostname goes before it was tried again", async () => {
    await account.stage({
      do: "fail",
      fault: { method: "POST", path: "dns_records", answer: "drop", afterWork: true },
    });
    await apply("www.example.com");
    account.api.time += 600_000;
    await apply("b.elsewhere.org");
    expect(await found()).toEqual({ routes: [], records: [] });
    expect(await account.ledger()).toEqual([]);
  });

  it("is one hostname's turn at a time, whoever comes by", async () => {
    await apply("b.elsewhere.org");
    await env.DB.prepare(
      "INSERT INTO hostnames (hostname, environment_id) SELECT 'www.example.com', id FROM environments",
    ).run();
    const now = account.api.time;
    await Promise.all([1, 2, 3].map(() => tendHostnames(account.api.env, now)));
    expect(await found()).toEqual({
      routes: ["example.com: www.example.com/* → sluice-edge"],
      records: ["www.example.com AAAA 100:: true"],
    });
    expect((await account.calls()).filter((call) => call.startsWith("POST"))).toHaveLength(2);
  });
});
