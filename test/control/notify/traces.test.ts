import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { leaseForPoll } from "../../../src/control/hosts/lease-jobs.ts";
import { deliver } from "../../../src/control/notify/deliver.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { insertEvent } from "../../../src/control/store/events.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { webhooks } from "../../../src/control/store/schema/webhooks.ts";
import { RETRIES_MS } from "../../../src/domain/notify/retry.ts";
import { attribute, spansIn, type WireSpan } from "../../support/services/otlp.ts";
import { Api, problemOf } from "../support/api.ts";
import { Stage } from "../support/stage.ts";

const COLLECTOR = "https://otel.acme.io";
const CI = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };
const TRACEPARENT = `00-${CI.traceId}-${CI.spanId}-01`;

interface Heard {
  readonly url: string;
  readonly headers: Headers;
  readonly spans: WireSpan[];
}

let stage: Stage;
let api: Api;
let heard: Heard[];
let answer: () => Response;
let addresses: Record<string, string>;
let asked: Request[];

beforeEach(async () => {
  stage = await Stage.open({
    hooks: { expand: ["./migrate"] },
    smoke: [{ path: "/buy", status: 200 }],
  });
  api = new Api({}, { SECRETS_KEY: `k1:${btoa("0123456789abcdef0123456789abcdef")}` });
  api.time = Date.now();
  heard = [];
  asked = [];
  answer = () => Response.json({});
  addresses = { "otel.acme.io": "93.184.216.34" };
  const real = globalThis.fetch;
  vi.stubGlobal("fetch", async (input: RequestInfo, init?: RequestInit) => {
    const request = new Request(input, init);
    const { hostname, searchParams } = new URL(request.url);
    if (hostname === "1.1.1.1") return dns(searchParams);
    if (hostname !== "otel.acme.io") {
      asked.push(request);
      return hostname.endsWith(".test") ? new Response("ok") : real(request);
    }
    heard.push({ url: request.url, headers: request.headers, spans: spansIn(await request.json()) });
    return answer();
  });
});
afterEach(() => vi.unstubAllGlobals());

function dns(query: URLSearchParams): Response {
  const data = addresses[query.get("name") ?? ""];
  const isV4 = query.get("type") === "1";
  return data
    ? Response.json({ Status: 0, Answer: isV4 ? [{ type: 1, data }] : [] })
    : Response.json({ Status: 3 });
}

const add = async (otlp: object = {}) => {
  const response = await api.post("/api/v1/webhooks", { otlp: { url: COLLECTOR, ...otlp } });
  expect(response.status).toBe(201);
  return response.json<{ id: string; url: string }>();
};
const tell = async () => {
  for (let i = 0; i < 50; i++) {
    const { next } = await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
    if (next === null || next > api.time) return next;
  }
  throw new Error("it does not come to rest");
};
const live = async (more: Parameters<Stage["create"]>[0] = {}) => {
  const made = await stage.create(more);
  if (!made.ok) throw new Error(made.error.detail);
  await becomeLive();
  return made.value.release;
};
/** By then no edge has another table any more. */
async function becomeLive(): Promise<void> {
  await stage.until("v1", "settling");
  stage.ahead = 60_000;
  await stage.until("v1", "live");
  api.time = Date.now() + 120_000;
}
const log = async (id: string) =>
  (await (await api.get(`/api/v1/webhooks/${id}/deliveries`)).json<{ items: Record<string, unknown>[] }>())
    .items;

describe("a release as a trace", () => {
  it("has a span for each state, job, hook, probe and smoke check below its own, continued from who made it", async () => {
    await add();
    const release = await live({ trace: { traceparent: TRACEPARENT, tracestate: "ci=1" } });
    await tell();
    expect(heard.map(({ url }) => url)).toEqual([`${COLLECTOR}/v1/traces`]);
    const spans = heard[0]?.spans ?? [];
    expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([CI.traceId]));
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
    const [root] = spans.filter(({ parentSpanId }) => parentSpanId === CI.spanId);
    expect(root).toMatchObject({ name: "release shop/production", traceState: "ci=1", status: { code: 1 } });
    const wanted = {
      app: "shop",
      environment: "production",
      release,
      version: "v1",
      strategy: "blue-green",
      actor: "ci",
      outcome: "success",
    };
    for (const [key, value] of Object.entries(wanted)) expect(attribute(root, `sluice.${key}`)).toBe(value);
    const ids = new Set(spans.map(({ spanId }) => spanId));
    for (const span of spans) if (span !== root) expect(ids).toContain(span.parentSpanId);
    const names = new Set(spans.map(({ name }) => name));
    for (const name of ["queued", "preparing", "starting", "verifying", "shifting", "settling"])
      expect(names).toContain(`state ${name}`);
    for (const name of ["job pull", "job start", "hook expand", "probe", "smoke checks"])
      expect(names).toContain(name);
  });

  it("has an id of its own that the release's id gives, where nobody's trace holds it", async () => {
    await add();
    const release = await live();
    await tell();
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(release));
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    expect(heard[0]?.spans[0]).toMatchObject({ traceId: hex.slice(0, 32), parentSpanId: "" });
  });

  it("is continued into the hook's environment and the smoke checks, under the spans that tell of them", async () => {
    await add();
    const made = await stage.create({ trace: { traceparent: TRACEPARENT } });
    const hook = await vi.waitUntil(async () => {
      await stage.work();
      await stage.inside((coordinator) => coordinator.alarm());
      return leaseHook();
    });
    const release = made.ok ? made.value.release : "";
    const [, traceId, spanId] = hook.split("-");
    expect(traceId).toBe(CI.traceId);
    await becomeLive();
    await tell();
    const spans = heard[0]?.spans ?? [];
    expect(spans.find((span) => span.spanId === spanId)).toMatchObject({ name: "hook expand" });
    const smoke = asked.find(({ url }) => url.endsWith("/buy"))?.headers.get("traceparent") ?? "";
    expect(smoke).toContain(CI.traceId);
    expect(spans.find((span) => smoke.includes(span.spanId))?.name).toBe("smoke checks");
    expect(release).toMatch(/^rel_/);
  });

  it("tells what came later, and only that, under the same release: a rollback of what was live", async () => {
    await add();
    const release = await live();
    await tell();
    const at = api.time;
    const about = {
      actor: "ann",
      app: "shop",
      environment: "production",
      environmentId: "env_1",
      releaseId: release,
    };
    const failure = { code: "instances_lost", message: "all its instances are lost", logs: [] };
    const move = (from: string, state: string, after: number) =>
      insertEvent(openDb(env.DB), {
        ...about,
        at: at + after,
        type: "release.state",
        message: `v1: ${state}`,
        data: { from, state, ...(state === "rolling_back" ? { failure } : {}) },
      });
    await move("live", "rolling_back", 0);
    await move("rolling_back", "rolled_back", 700);
    api.time = at + 2_000;
    await tell();
    const later = heard[1]?.spans ?? [];
    expect(later.map(({ name }) => name)).toEqual(["state rolling_back"]);
    expect(later[0]?.parentSpanId).toBe(heard[0]?.spans[0]?.spanId);
    expect(later[0]?.traceId).toBe(heard[0]?.spans[0]?.traceId);
  });
});

describe("a collector", () => {
  it("is sent its headers, which are sealed and shown to nobody", async () => {
    const { id, url } = await add({
      url: `${COLLECTOR}/v1/traces?key=hush`,
      headers: { "x-api-key": "s3cret" },
    });
    expect(url).toBe(`${COLLECTOR}/v1/traces`);
    const [row] = await stage.db.select().from(webhooks).where(eq(webhooks.id, id));
    expect(JSON.stringify(row)).not.toMatch(/s3cret|hush/);
    const shown = await (await api.get("/api/v1/webhooks")).text();
    const audit = await (await api.get("/api/v1/audit")).text();
    expect(shown + audit).not.toMatch(/s3cret|hush/);
    await api.post(`/api/v1/webhooks/${id}/test`, {});
    await tell();
    expect(heard[0]?.url).toBe(`${COLLECTOR}/v1/traces?key=hush`);
    expect(heard[0]?.headers.get("x-api-key")).toBe("s3cret");
    expect(heard[0]?.spans).toMatchObject([{ name: "sluice test" }]);
  });

  it("that is away is told the very same spans later", async () => {
    await add();
    await live();
    answer = () => new Response(null, { status: 503 });
    expect(await tell()).toBeGreaterThan(api.time);
    api.time += (RETRIES_MS[0] ?? 0) * 2;
    answer = () => Response.json({ partialSuccess: {} });
    expect(await tell()).toBe(null);
    expect(heard).toHaveLength(2);
    expect(heard[1]?.spans).toEqual(heard[0]?.spans);
  });

  it.each([
    ["refuses it", () => new Response("who are you?", { status: 401 }), "it answered 401: who are you?"],
    [
      "takes only a part",
      () => Response.json({ partialSuccess: { rejectedSpans: "3", errorMessage: "too old" } }),
      "it did not take 3 spans: too old",
    ],
  ])(
    "that %s is not asked again, as the protocol wants it, and that is said aloud",
    async (_, said, error) => {
      const { id } = await add();
      await live();
      answer = said;
      expect(await tell()).toBe(null);
      expect(heard).toHaveLength(1);
      expect(await log(id)).toMatchObject([{ state: "failed", attempts: 1, error }]);
      const [last] = await stage.db.select().from(events).where(eq(events.type, "webhook.given_up"));
      expect(last?.message).toContain(`after 1 try: ${error}`);
    },
  );

  it("at an internal address is refused, when it is saved and when a name leads there later", async () => {
    for (const url of ["https://10.0.0.1", "http://otel.acme.io", "https://localhost:4318/v1/traces", "x"])
      expect(await problemOf(await api.post("/api/v1/webhooks", { otlp: { url } }))).toBe(
        "400 invalid_request",
      );
    const { id } = await add();
    await live();
    addresses["otel.acme.io"] = "10.0.0.1";
    await tell();
    expect(heard).toEqual([]);
    expect((await log(id))[0]?.error).toContain("an internal address");
  });

  it.each([{ Host: "a" }, { "content-type": "text/html" }, { "x y": "a" }, { a: "b\r\nc: d" }])(
    "gets no header that would change the request: %j",
    async (headers) => {
      const otlp = { url: COLLECTOR, headers };
      expect((await api.post("/api/v1/webhooks", { otlp })).status).toBe(400);
    },
  );
});

it("nobody's request is told of a trace where nobody is told of traces", async () => {
  await live();
  expect(asked.length).toBeGreaterThan(0);
  for (const { headers } of asked) expect(headers.get("traceparent")).toBe(null);
});

/** What the agent that leases the expand hook finds in its environment; undefined: it isn't ordered yet. */
async function leaseHook(): Promise<string | undefined> {
  const hook = (await stage.jobs()).find(({ kind }) => kind === "run");
  if (!hook) return undefined;
  const takes = ["run"] as const;
  const request = { hostId: hook.hostId, boot: "b", now: Date.now(), jobs: [], takes: [...takes] };
  const { jobs } = await leaseForPoll({ db: openDb(env.DB), env: api.env }, request);
  const [job] = jobs;
  return job?.kind === "run" ? job.env.TRACEPARENT : undefined;
}
