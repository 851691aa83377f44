import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deliver } from "../../../src/control/notify/deliver.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { insertEvent } from "../../../src/control/store/events.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { RETRIES_MS } from "../../../src/domain/notify/retry.ts";
import type { AskedRequest } from "../../../src/domain/rollout/release.ts";
import { Api, problemOf } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

const RUN = "https://github.com/acme/shop/actions/runs/91";
const URL_OF = "https://hooks.acme.io/sluice";

interface Heard {
  readonly id: string;
  readonly body: { type: string; data: Record<string, unknown> };
  readonly request: Request;
  readonly text: string;
}

const SECRETS_KEY = `k1:${btoa("0123456789abcdef0123456789abcdef")}`;
let api: Api;
let heard: Heard[];
let answer: (heard: Heard) => Response | Promise<Response>;
let addresses: Record<string, string[]>;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { SECRETS_KEY });
  heard = [];
  answer = () => new Response(null, { status: 204 });
  addresses = { "hooks.acme.io": ["93.184.216.34"], "hooks.slack.com": ["93.184.216.34"] };
  vi.stubGlobal("fetch", async (input: RequestInfo, init?: RequestInit) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (url.hostname === "1.1.1.1") return dns(url);
    const text = await request.clone().text();
    const one = { id: request.headers.get("webhook-id") ?? "", body: JSON.parse(text), request, text };
    heard.push(one);
    return answer(one);
  });
});
afterEach(() => vi.unstubAllGlobals());

function dns(url: URL): Response {
  const type = Number(url.searchParams.get("type"));
  const found = addresses[url.searchParams.get("name") ?? ""];
  if (!found) return Response.json({ Status: 3 });
  const of = found.filter((address) => address.includes(":") === (type === 28));
  return Response.json({ Status: 0, Answer: of.map((data) => ({ type, data })) });
}

const at = () => ({ env: api.env, db: openDb(env.DB), now: () => api.time });
/** Until nothing is due any more. */
async function tell(): Promise<number | null> {
  for (let i = 0; i < 50; i++) {
    const { next } = await deliver(at());
    if (next === null || next > api.time) return next;
  }
  throw new Error("it does not come to rest");
}

const add = async (more: object = {}) => {
  const response = await api.post("/api/v1/webhooks", { url: URL_OF, ...more });
  expect(response.status).toBe(201);
  return response.json<{ id: string; secret: string }>();
};
const failure = { code: "smoke_failed", message: "GET /health answered 500, 200 wanted\nmore", logs: [] };
const happen = (message: string, more: object = {}) =>
  insertEvent(openDb(env.DB), {
    at: api.time,
    type: "release.state",
    actor: "token:ci",
    app: "shop",
    environment: "production",
    environmentId: "env_1",
    releaseId: "rel_1",
    message,
    data: { state: "starting" },
    ...more,
  });
const log = async (id: string) =>
  (await (await api.get(`/api/v1/webhooks/${id}/deliveries`)).json<{ items: Record<string, unknown>[] }>())
    .items;

describe("a message", () => {
  it("is signed so that Standard Webhooks' own library takes it, and by both secrets while they are rotated", async () => {
    // The library goes by the wall's clock.
    api.time = Date.now();
    const { id, secret } = await add();
    const rotated = await (await api.post(`/api/v1/webhooks/${id}/secret`, {})).json<{ secret: string }>();
    await happen("v2: starting");
    await tell();
    const [message] = heard.filter(({ body }) => body.type === "release.starting");
    const headers = Object.fromEntries(message?.request.headers ?? []);
    for (const key of [secret, rotated.secret])
      expect(new Webhook(key).verify(message?.text ?? "", headers)).toMatchObject({
        type: "release.starting",
      });
    const tampered = message?.text.replace("shop", "evil") ?? "";
    expect(() => new Webhook(secret).verify(tampered, headers)).toThrow();
  });

  it("says app, version, who, how long and why it failed, in one sentence", async () => {
    const environmentId = await world.applied(api);
    const release = await world.release(environmentId, {
      version: "v7",
      createdAt: api.time - 62_000,
      failure,
      git: { sha: "a".repeat(40), branch: "main", url: "https://github.com/acme/shop", run: RUN },
    });
    await add({ app: "shop", severity: "error" });
    // The last event doesn't say why once more.
    await happen("v7: starts", { environmentId, releaseId: release });
    await happen("v7: rolled back", { environmentId, releaseId: release, data: { state: "rolled_back" } });
    await tell();
    expect(heard.map(({ body }) => body)).toMatchObject([
      {
        type: "release.rolled_back",
        data: {
          app: "shop",
          environment: "production",
          version: "v7",
          actor: "token:ci",
          durationMs: 62_000,
          reason: "GET /health answered 500, 200 wanted",
          source: { repository: "https://github.com/acme/shop", commit: "a".repeat(40), ref: "main" },
          links: { app: "https://shop.example.com", run: RUN },
        },
      },
    ]);
  });

  it("has a request that failed with what the app wrote of it, three lines at most, and none that was not found yet", async () => {
    const environmentId = await world.applied(api);
    const asked = {
      ...{ id: "4f0c8a52-1d7e-4b-9k", instance: "rel-1", since: api.time, until: api.time },
      ...{ route: "POST /pay", host: "web-2" },
    };
    const lines = ["no cart", "x".repeat(400), "at pay", "at main"];
    const ends = async (version: string, found: AskedRequest["found"]) => {
      const releaseId = await world.release(environmentId, { version, failedRequest: { ...asked, found } });
      await happen(`${version}: rolled back`, { environmentId, releaseId, data: { state: "rolled_back" } });
      await tell();
      return heard.at(-1)?.body.data;
    };
    await add({ app: "shop" });
    expect(await ends("v7", { lines, note: null })).toMatchObject({
      version: "v7",
      request: {
        ...{ id: asked.id, route: "POST /pay", host: "web-2", note: null },
        lines: ["no cart", expect.stringMatching(/^x{290,299}…$/), "at pay"],
      },
    });
    expect(await ends("v8", null)).not.toHaveProperty("request");
  });
});

describe("delivery", () => {
  it("keeps a release's order while a try fails, and lets others pass", async () => {
    await add({ events: ["release.*"] });
    answer = ({ body }) => new Response(null, { status: body.data.message === "one" ? 503 : 200 });
    await happen("one");
    await happen("two");
    await happen("other", { releaseId: "rel_2" });
    await tell();
    expect(heard.map(({ body }) => body.data.message)).toEqual(["one", "other"]);
    answer = () => new Response("ok");
    api.time += RETRIES_MS[0] ?? 0;
    await tell();
    api.time += RETRIES_MS[0] ?? 0;
    await tell();
    expect(heard.map(({ body }) => body.data.message)).toEqual(["one", "other", "one", "two"]);
    expect(heard[2]?.id).toBe(heard[0]?.id);
  });

  it("that nobody answers holds back none to other targets, and its own for a minute", async () => {
    const silent = await add({ url: `${URL_OF}/silent` });
    await add();
    const late = Promise.withResolvers<Response>();
    answer = ({ request }) =>
      request.url.endsWith("silent") ? late.promise : new Response(null, { status: 204 });
    for (const releaseId of ["rel_1", "rel_2"])
      for (const message of ["v2: pulling", "v2: starting", "v2: verifying"])
        await happen(message, { releaseId });
    const run = deliver(at());
    const to = (end: string) => heard.filter(({ request }) => request.url.endsWith(end));
    await expect.poll(() => to("/sluice").length).toBe(6);
    expect(to("silent")).toHaveLength(1);
    late.reject(new DOMException("", "TimeoutError"));
    await run;
    expect((await log(silent.id)).map(({ error }) => error)).toContain("no answer within 15 s");
    expect(await tell()).toBe(api.time + 60_000);
    expect(to("silent")).toHaveLength(1);
  });

  it("gives up after the specification's tries, says so in the audit log and in doctor, and goes on with the next", async () => {
    const { id } = await add({ events: ["release.*"] });
    answer = ({ body }) => new Response("broken", { status: body.data.message === "one" ? 500 : 200 });
    await happen("one");
    await happen("two");
    for (let next = await tell(); next !== null; next = await tell()) api.time = next;
    expect(heard.filter(({ body }) => body.data.message === "one")).toHaveLength(RETRIES_MS.length + 1);
    expect(heard.at(-1)?.body.data.message).toBe("two");
    expect(await log(id)).toMatchObject([
      { state: "delivered", attempts: 1, status: 200 },
      { state: "failed", attempts: 10, status: 500, error: "it answered 500: broken", nextAttemptAt: null },
    ]);
    const { items } = await (await api.get("/api/v1/audit")).json<{ items: { type: string }[] }>();
    expect(items[0]?.type).toBe("webhook.given_up");
    const doctor = await (await api.get("/api/v1/doctor")).json<{
      checks: { id: string; status: string }[];
    }>();
    expect(doctor.checks).toContainEqual(expect.objectContaining({ id: "webhook.delivery", status: "warn" }));
    answer = () => new Response("ok");
    expect(await (await api.post(`/api/v1/webhooks/${id}/replay`, {})).json()).toEqual({ replayed: 1 });
    await tell();
    expect(heard.at(-1)?.id).toBe(heard[0]?.id);
  });

  it("says of a target behind a challenge of Cloudflare's what to set there", async () => {
    const { id } = await add({ events: ["release.*"] });
    answer = () =>
      new Response("<html>Just a moment", { status: 403, headers: { "cf-mitigated": "challenge" } });
    await happen("one");
    await tell();
    const [sent] = await log(id);
    expect(sent).toMatchObject({ status: 403, error: expect.stringMatching(/challenge.*Bot Fight Mode/) });
  });

  it("waits as long as a target asks, and stops for good at 410", async () => {
    const { id } = await add({ events: ["release.*"] });
    answer = () => new Response(null, { status: 429, headers: { "retry-after": "3600" } });
    await happen("one");
    expect(await tell()).toBe(api.time + 3_600_000);
    api.time += 3_600_000;
    answer = () => new Response(null, { status: 410 });
    await happen("two");
    expect(await tell()).toBe(null);
    expect(await log(id)).toMatchObject([{ state: "pending" }, { state: "failed", status: 410 }]);
    expect(await problemOf(await api.post(`/api/v1/webhooks/${id}/test`, {}))).toBe("409 conflict");
  });

  it("follows no redirect", async () => {
    const { id } = await add({ events: ["release.*"] });
    answer = () => new Response(null, { status: 302, headers: { location: "https://169.254.169.254/" } });
    await happen("one");
    await tell();
    expect(heard.map(({ request }) => request.url)).toEqual([URL_OF]);
    expect((await log(id))[0]?.error).toBe("it answered 302: redirects are not followed");
  });

  it("costs the sweep one query while nobody is to be told, and wakes nobody", async () => {
    let poked = 0;
    const NOTIFIER = {
      getByName: () => ({ poke: async () => void poked++ }),
    } as unknown as typeof env.NOTIFIER;
    await happen("one");
    const { counted, DB } = countQueries(env.DB);
    await deliver({ ...at(), db: openDb(DB) });
    expect(counted.queries).toBe(3);
    await sweep({ ...api.env, NOTIFIER }, api.time);
    expect(poked).toBe(0);
    await add();
    await happen("two");
    await sweep({ ...api.env, NOTIFIER }, api.time);
    expect(poked).toBe(1);
  });
});

describe("an internal address", () => {
  const refused = [
    "http://hooks.acme.io/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://10.1.2.3/",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fd00::1]/",
    "https://[64:ff9b::a00:1]/",
    "https://localhost/",
    "https://db.internal/",
    "https://router/",
    "https://user:pass@hooks.acme.io/",
    "https://sl-0123456789abcdef.example.com/",
    "https://leads-inside.acme.io/",
    "https://half-inside.acme.io/",
    "https://nowhere.acme.io/",
    "file:///etc/passwd",
    "hooks",
  ];
  it.each(refused)("is refused when it is saved: %s", async (url) => {
    addresses["leads-inside.acme.io"] = ["192.168.1.1"];
    addresses["half-inside.acme.io"] = ["93.184.216.34", "fe80::1"];
    expect(await problemOf(await api.post("/api/v1/webhooks", { url }))).toBe("400 invalid_request");
    expect(heard).toEqual([]);
  });

  it.each([
    ["the local stack, whose user's machine it is", {}, 201],
    [
      "no installation at Cloudflare, whatever its variables",
      { CONTROL_HOSTNAME: "sluice.example.com" },
      400,
    ],
  ])("of this machine itself is a target of %s", async (_whose, more, status) => {
    const own = new Api({}, { SECRETS_KEY, NOTIFY_LOOPBACK: "allowed", ...more });
    expect((await own.post("/api/v1/webhooks", { url: "http://127.0.0.1:9/" })).status).toBe(status);
  });

  it("is refused when a name is led there later, and when nobody says where it leads", async () => {
    const { id } = await add({ events: ["release.*"] });
    addresses["hooks.acme.io"] = ["10.0.0.1"];
    await happen("one");
    await tell();
    expect((await log(id))[0]?.error).toBe(
      "not sent: hooks.acme.io leads to 10.0.0.1, which is an internal address",
    );
    delete addresses["hooks.acme.io"];
    api.time += 10_000;
    await tell();
    expect((await log(id))[0]?.error).toBe("not sent: hooks.acme.io has no address");
    expect(heard).toEqual([]);
  });
});
