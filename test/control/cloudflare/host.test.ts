import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { tendTunnel } from "../../../src/control/cloudflare/tend-tunnel.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";
import { Account } from "./support.ts";

let account: Account;
beforeEach(async () => {
  account = await Account.open();
});

const MAKE = [
  "GET /accounts/{account}/cfd_tunnel?name=NAME&is_deleted=false 200",
  "POST /accounts/{account}/cfd_tunnel 200",
  "GET /accounts/{account}/cfd_tunnel/{tunnel}/configurations 404",
  "PUT /accounts/{account}/cfd_tunnel/{tunnel}/configurations 200",
  "GET /zones/{example.com}/workers/routes 200",
  "POST /zones/{example.com}/workers/routes 200",
  "POST /zones/{example.com}/workers/routes 200",
  "GET /zones/{example.com}/dns_records?comment.exact=sluice host ID&per_page=500 200",
  "POST /zones/{example.com}/dns_records/batch 200",
];
const REMOVE = [
  "GET /zones/{example.com}/dns_records?comment.exact=sluice host ID&per_page=500 200",
  "POST /zones/{example.com}/dns_records/batch 200",
  "DELETE /accounts/{account}/cfd_tunnel/{tunnel}/connections 200",
  "DELETE /accounts/{account}/cfd_tunnel/{tunnel} 200",
  "DELETE /zones/{example.com}/workers/routes/ROUTE 200",
  "DELETE /zones/{example.com}/workers/routes/ROUTE 200",
];

const named = (calls: string[], host: { id: string }) =>
  calls.map((call) =>
    call
      .replace(host.id, "ID")
      .replace(/name=sluice-[^&]+/, "name=NAME")
      .replace(/routes\/[0-9a-f]{32}/, "routes/ROUTE"),
  );

/** What is at Cloudflare for a host with these slots: everything once, everything led right. */
async function expectMade(slots: readonly { origin: string; hostPort: number }[]): Promise<void> {
  const { tunnels, routes, records } = await account.look();
  const hostnames = slots.map(({ origin }) => origin.slice("https://".length));
  const living = tunnels.filter(({ deletedAt }) => deletedAt === null);
  expect(living).toHaveLength(1);
  const id = living[0]?.id ?? "";
  expect(living[0]?.config).toMatchObject({
    config: {
      ingress: [
        ...slots.map(({ hostPort }, n) => ({
          hostname: hostnames[n],
          service: `http://127.0.0.1:${hostPort}`,
          originRequest: { connectTimeout: 3 },
        })),
        { service: "http_status:404" },
      ],
    },
  });
  const route = (hostname: string) => ({ pattern: `${hostname}/*`, script: "sluice-edge" });
  expect(routes.map(({ pattern, script }) => ({ pattern, script }))).toEqual(hostnames.map(route));
  expect(records.map(({ name, content, proxied }) => ({ name, content, proxied }))).toEqual(
    hostnames.map((name) => ({ name, content: `${id}.cfargotunnel.com`, proxied: true })),
  );
}

async function expectNothing(): Promise<void> {
  const { tunnels, routes, records, accessApps, accessPolicies } = await account.look();
  const living = tunnels.filter(({ deletedAt }) => deletedAt === null);
  expect({ living, routes, records, accessApps, accessPolicies }).toEqual({
    living: [],
    routes: [],
    records: [],
    accessApps: [],
    accessPolicies: [],
  });
  expect(await account.ledger()).toEqual([]);
}

describe("a host that was enrolled without an address of its own", () => {
  it("gets a tunnel, a shield and records, and loses all of them with the host", async () => {
    const { host, slots } = await account.enroll();
    expect(slots.map(({ origin }) => origin)).toEqual([
      expect.stringMatching(/^https:\/\/sl-[0-9a-z]{16}\.example\.com$/),
      expect.stringMatching(/^https:\/\/sl-[0-9a-z]{16}\.example\.com$/),
    ]);
    await account.settle(host.id, "ready");
    expect(named(await account.calls(), host)).toEqual(MAKE);
    await expectMade(slots);
    expect(await account.tunnel()).toMatchObject({ state: "ready", cause: null, configVersion: 1 });
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    expect(named(await account.calls(MAKE.length), host)).toEqual(REMOVE);
    await expectNothing();
    expect(await account.events("host.tunnel")).toEqual([
      "the tunnel of web-1 is ready, with 2 slots",
      "the tunnel of web-1 is removed",
    ]);
  });

  it.each(["404", "empty"] as const)(
    "gets its first ingress where Cloudflare says of a tunnel never configured: %s",
    async (configuration) => {
      account = await Account.open({ unknowns: { configuration } });
      const { host, slots } = await account.enroll();
      await account.settle(host.id, "ready");
      await expectMade(slots);
      expect(await account.tunnel()).toMatchObject({ state: "ready", cause: null, configVersion: 1 });
    },
  );

  it("is enrolled at once, whether Cloudflare answers or not", async () => {
    await account.stage({ do: "fail", fault: { times: 99, answer: "drop" } });
    const { host, token } = await account.enroll();
    expect(await account.failedOnce(host.id)).toMatch(/^Cloudflare's API could not be reached to look for/);
    const answer = await account.api.post("/agent/v1/tunnel", {}, { token });
    expect(await answer.json()).toMatchObject({ state: "pending", cause: /could not be reached/ });
    await account.stage({ do: "heal" });
    await account.settle(host.id, "ready");
  });

  it("keeps its calls apart from another's that is enrolled at the same moment", async () => {
    const [one, two] = await Promise.all([account.enroll("web-1", 3), account.enroll("web-2", 3)]);
    await Promise.all([account.settle(one.host.id, "ready"), account.settle(two.host.id, "ready")]);
    const { tunnels, records, routes } = await account.look();
    expect([tunnels.length, records.length, routes.length]).toEqual([2, 6, 6]);
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(one.host.id, "removed");
    await expectMade(two.slots);
  });

  it("goes when it is removed while its tunnel is still being made", async () => {
    await account.stage({ do: "fail", fault: { method: "PUT", answer: 500, times: 99 } });
    const { host } = await account.enroll();
    await account.failedOnce(host.id);
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });

  it("makes many routes in several runs, within what a Worker may do in one", async () => {
    await account.stage({ do: "reset", options: { zones: [{ name: "example.com" }] } });
    const { host, slots } = await account.enroll("web-1", 50);
    await account.settle(host.id, "ready");
    await expectMade(slots);
    expect(await account.events("host.tunnel")).toEqual(["the tunnel of web-1 is ready, with 50 slots"]);
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });

  it("goes in several runs where somebody gave all of its records another comment", async () => {
    const { host } = await account.enroll("web-1", 55);
    await account.settle(host.id, "ready");
    const { records } = await account.look();
    const headers = { authorization: `Bearer ${env.CLOUDFLARE_API_TOKEN}` };
    for (const { id, zone } of records) {
      const url = `${env.CLOUDFLARE_API_URL}/zones/${zone}/dns_records/${id}`;
      await fetch(url, { method: "PATCH", headers, body: JSON.stringify({ comment: "mine now" }) });
    }
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
    expect(await account.events("host.tunnel")).toHaveLength(2);
  });
});

/** Ways to fail before the work, and after it: each call meets one of either, and all of them are met. */
const BEFORE = [
  { answer: 500 as const },
  { answer: "drop" as const },
  { answer: 429 as const, retryAfterS: 7 },
  { answer: 403 as const },
];
const AFTER = [
  { answer: 500 as const, afterWork: true },
  { answer: "drop" as const, afterWork: true },
];
const cases = (calls: readonly string[]) =>
  calls.flatMap((call, skip) =>
    [BEFORE[skip % BEFORE.length], AFTER[skip % AFTER.length]].map((fault) => ({
      call: call.split("?")[0] ?? "",
      skip,
      fault: fault ?? { answer: 500 as const },
    })),
  );
const lost = (calls: readonly string[]) => cases(calls).filter(({ fault }) => "afterWork" in fault);

describe("a run that failed half-way", () => {
  it.each(cases(MAKE))("makes nothing twice: $call, $fault", async ({ skip, fault }) => {
    await account.stage({ do: "fail", fault: { skip, ...fault } });
    const { host, slots } = await account.enroll();
    await account.failedOnce(host.id);
    await account.settle(host.id, "ready");
    await expectMade(slots);
    const ledger = await account.ledger();
    expect(ledger.filter(({ remote_id }) => remote_id === null)).toEqual([]);
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });

  it.each(lost(MAKE))(
    "leaves nothing when the host is removed then: $call, $fault",
    async ({ skip, fault }) => {
      await account.stage({ do: "fail", fault: { skip, ...fault } });
      const { host } = await account.enroll();
      await account.failedOnce(host.id);
      await account.api.delete("/api/v1/hosts/web-1");
      await account.settle(host.id, "removed");
      await expectNothing();
    },
  );

  it.each(cases(REMOVE))("removes the rest of it: $call, $fault", async ({ skip, fault }) => {
    const { host } = await account.enroll();
    await account.settle(host.id, "ready");
    await account.stage({ do: "fail", fault: { skip, ...fault } });
    await account.api.delete("/api/v1/hosts/web-1");
    await account.failedOnce(host.id);
    await account.settle(host.id, "removed");
    await expectNothing();
  });
});

describe("what Cloudflare refuses", () => {
  const refusedWith = async (options: Parameters<typeof Account.open>[0], slots = 2) => {
    account = await Account.open(options);
    const { host } = await account.enroll("web-1", slots);
    return account.failedOnce(host.id);
  };

  it("names the permission that the token lacks", async () => {
    const all = [
      "Account › Cloudflare Tunnel › Edit",
      "Zone › Workers Routes › Edit",
      "Zone › DNS › Edit",
    ] as const;
    for (const missing of all) {
      const tokens = { "api-token": all.filter((one) => one !== missing) };
      expect(await refusedWith({ tokens })).toContain(`give it the permission \`${missing}\``);
    }
    expect(await account.events("host.tunnel")).toHaveLength(1);
  });

  it("says that it does not know the token", async () => {
    expect(await refusedWith({ tokens: {} })).toContain("make a new one and set CLOUDFLARE_API_TOKEN");
  });

  it("waits as long as it is told to", async () => {
    await account.stage({ do: "fail", fault: { answer: 429, retryAfterS: 77 } });
    const { host } = await account.enroll();
    expect(await account.failedOnce(host.id)).toContain("again in 77 s");
    const next = Date.parse((await account.tunnel())?.nextAttemptAt ?? "");
    expect(next - Date.now()).toBeGreaterThan(70_000);
    const link = env.HOST_LINK.getByName(host.id);
    expect(await runInDurableObject(link, (_, state) => state.storage.getAlarm())).toBe(next);
  });

  it("says how many records and routes the zone takes, and how many it has", async () => {
    const records = await refusedWith({ zones: [{ name: "example.com", maxRecords: 3 }] }, 4);
    expect(records).toContain("Record quota exceeded. (81045): it has 0 and needs 4 more");
    const { zones } = await account.look();
    const route = { zone: zones[0]?.id ?? "", script: "other" };
    account = await Account.open();
    for (let n = 0; n < 999; n += 1)
      await account.stage({ do: "put", route: { ...route, id: `r${n}`, pattern: `r${n}.example.com/*` } });
    const { host } = await account.enroll();
    expect(await account.failedOnce(host.id)).toContain(
      "has 999 Worker routes and Cloudflare allows 1000: 2 more",
    );
  });

  it("is said once, however often it is tried", async () => {
    await account.stage({ do: "fail", fault: { answer: 403, times: 3 } });
    const { host } = await account.enroll();
    await account.failedOnce(host.id);
    await account.settle(host.id, "ready");
    expect(await account.events("host.tunnel")).toHaveLength(2);
  });
});

describe("what is not control's own", () => {
  it("stays when the host goes", async () => {
    const { host, slots } = await account.enroll();
    await account.settle(host.id, "ready");
    const { zones, records } = await account.look();
    const zone = zones[0]?.id ?? "";
    const comment = records[0]?.comment ?? null;
    const record = { id: "theirs", zone, type: "A", name: "www.example.com", content: "192.0.2.1" };
    const route = { id: "theirs", zone, pattern: "www.example.com/*", script: "theirs" };
    // Even one that carries the comment of ours.
    await account.stage({ do: "put", route, record: { ...record, proxied: true, ttl: 1, comment } });
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    const after = await account.look();
    expect([after.records.map(({ id }) => id), after.routes.map(({ id }) => id)]).toEqual([
      ["theirs"],
      ["theirs"],
    ]);
    expect(slots).toHaveLength(2);
  });

  it("stays untouched when it took the place of ours", async () => {
    const { host } = await account.enroll();
    await account.settle(host.id, "ready");
    const { tunnels } = await account.look();
    await account.stage({ do: "delete tunnel", id: tunnels[0]?.id ?? "" });
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });
});

describe("a tunnel that is connected", () => {
  it("is cut off and deleted with its host", async () => {
    const { host } = await account.enroll();
    await account.settle(host.id, "ready");
    await account.stage({ do: "connect", connections: 4 });
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });
});

describe("the agent", () => {
  const ask = async (token: string) => (await account.api.post("/agent/v1/tunnel", {}, { token })).json();

  it("gets the token when the tunnel is ready, and hears of a change with its next poll", async () => {
    const { host, token } = await account.enroll();
    expect(await ask(token)).toMatchObject({ state: "pending", retryAfterMs: expect.any(Number) });
    await account.settle(host.id, "ready");
    const poll = async () =>
      (await account.api.post("/agent/v1/poll", world.pollBody(), { token })).json<{ tunnelRev?: number }>();
    expect((await poll()).tunnelRev).toBe(1);
    const first = await ask(token);
    const { tunnels } = await account.look();
    const [tunnel] = tunnels;
    const secret = (answer: unknown) => JSON.parse(atob((answer as { token: string }).token));
    expect(first).toMatchObject({ state: "ready", rev: 1, tunnelId: tunnel?.id, configVersion: 1 });
    expect(secret(first)).toEqual({ a: env.CLOUDFLARE_ACCOUNT_ID, t: tunnel?.id, s: tunnel?.secret });
    const rotated = await account.api.post("/api/v1/hosts/web-1/tunnel/rotate", {});
    expect(await rotated.json()).toEqual({ host: "web-1", rev: 2 });
    expect((await poll()).tunnelRev).toBe(2);
    const second = await ask(token);
    expect(second).toMatchObject({ state: "ready", rev: 2 });
    expect(secret(second).s).not.toBe(secret(first).s);
  });

  it("asks as often as it likes: Cloudflare is asked once a minute", async () => {
    const { host, token } = await account.enroll();
    await account.settle(host.id, "ready");
    const before = (await account.calls()).length;
    for (let n = 0; n < 5; n += 1) await ask(token);
    expect(await account.calls(before)).toEqual(["GET /accounts/{account}/cfd_tunnel/{tunnel}/token 200"]);
  });

  it("never finds its token in the database", async () => {
    const { host, token } = await account.enroll();
    await account.settle(host.id, "ready");
    const answer = (await ask(token)) as { token: string };
    const { results } = await env.DB.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all<{
      name: string;
    }>();
    for (const { name } of results.filter((table) => !/^(_cf|sqlite|d1)_/.test(table.name))) {
      const rows = await env.DB.prepare(`SELECT * FROM "${name}"`).all();
      expect(JSON.stringify(rows.results)).not.toContain(answer.token);
    }
  });

  it("gets a new tunnel when a person deleted the old one at Cloudflare", async () => {
    const { host, slots, token } = await account.enroll();
    await account.settle(host.id, "ready");
    const old = (await account.tunnel())?.id ?? "";
    await account.stage({ do: "delete tunnel", id: old });
    expect(await ask(token)).toMatchObject({ state: "pending" });
    await account.settle(host.id, "ready");
    await expectMade(slots);
    expect(await ask(token)).toMatchObject({ state: "ready", rev: 2 });
  });

  it("has no tunnel when its host has an address of its own", async () => {
    const { token } = await world.enrolled(account.api);
    expect(await ask(token)).toEqual({ state: "none" });
    const rotated = await account.api.post("/api/v1/hosts/web-1/tunnel/rotate", {});
    expect(await problemOf(rotated)).toBe("409 not_configured");
  });
});

describe("a token's rotation that Cloudflare did not answer", () => {
  it("is refused in words, and the agent asks again: the secret may have changed", async () => {
    const { host, token } = await account.enroll();
    await account.settle(host.id, "ready");
    await account.stage({ do: "fail", fault: { method: "PATCH", answer: "drop", afterWork: true } });
    const rotated = await account.api.post("/api/v1/hosts/web-1/tunnel/rotate", {});
    expect(await problemOf(rotated)).toBe("502 cloudflare_refused");
    const poll = await account.api.post("/agent/v1/poll", world.pollBody(), { token });
    expect(await poll.json()).toMatchObject({ tunnelRev: 2 });
  });
});

describe("an alarm that was lost", () => {
  it("is armed again by the sweep", async () => {
    await account.stage({ do: "fail", fault: { answer: 429, retryAfterS: 600 } });
    const { host } = await account.enroll();
    await account.failedOnce(host.id);
    const link = env.HOST_LINK.getByName(host.id);
    await runInDurableObject(link, (_, state) => state.storage.deleteAlarm());
    await sweep(account.api.env, Date.now() + 700_000);
    expect(await runInDurableObject(link, (_, state) => state.storage.getAlarm())).not.toBeNull();
    await account.settle(host.id, "ready");
  });
});

describe("slots behind Access", () => {
  const BEHIND = { ACCESS_CLIENT_ID: "", ACCESS_CLIENT_SECRET: "secret" };
  /** The account's own service token, and one host's run by a control that is bound to it. */
  const open = async (slots: number) => {
    const url = `${env.CLOUDFLARE_API_URL}/accounts/${env.CLOUDFLARE_ACCOUNT_ID}/access/service_tokens`;
    const headers = { authorization: `Bearer ${env.CLOUDFLARE_API_TOKEN}` };
    const made = await fetch(url, { method: "POST", headers, body: JSON.stringify({ name: "sluice" }) });
    const { result } = await made.json<{ result: { id: string; client_id: string } }>();
    BEHIND.ACCESS_CLIENT_ID = result.client_id;
    await account.stage({ do: "fail", fault: { answer: 429, retryAfterS: 600 } });
    const enrolled = await account.enroll("web-1", slots);
    await account.failedOnce(enrolled.host.id);
    return { ...enrolled, tokenId: result.id };
  };
  const tend = (id: string) => tendTunnel({ ...env, ...BEHIND }, id, account.api.time);

  it("have an application for every five, which only the edge's service token opens, before they can be reached", async () => {
    const { host, slots, tokenId } = await open(7);
    await account.stage({ do: "fail", fault: { path: "batch", answer: 500 } });
    await tend(host.id);
    const before = await account.look();
    expect([before.accessApps.length, before.records.length]).toEqual([2, 0]);
    expect(await tend(host.id)).toBeNull();
    const { accessApps, accessPolicies, records } = await account.look();
    expect(accessApps.flatMap(({ domains }) => domains)).toEqual(slots.map(({ origin }) => origin.slice(8)));
    expect(accessPolicies).toMatchObject([
      { decision: "non_identity", include: [{ service_token: { token_id: tokenId } }] },
    ]);
    expect(accessApps.map(({ policies }) => policies)).toEqual(
      accessApps.map(() => [{ id: accessPolicies[0]?.id, precedence: 1 }]),
    );
    expect(records).toHaveLength(7);
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });

  it.each(["policies", "apps"])("are made once when the answer about their %s is lost", async (what) => {
    const { host } = await open(2);
    await account.stage({ do: "fail", fault: { method: "POST", path: what, answer: 500, afterWork: true } });
    expect(await tend(host.id)).not.toBeNull();
    expect(await tend(host.id)).toBeNull();
    const { accessApps, accessPolicies } = await account.look();
    expect([accessApps.length, accessPolicies.length]).toEqual([1, 1]);
    await account.api.delete("/api/v1/hosts/web-1");
    await account.settle(host.id, "removed");
    await expectNothing();
  });

  it("say so when the account has no such service token", async () => {
    const { host } = await open(2);
    BEHIND.ACCESS_CLIENT_ID = "unknown.access";
    await tend(host.id);
    expect((await account.row(host.id))?.cause).toContain(
      "no service token with the client id unknown.access",
    );
  });
});
