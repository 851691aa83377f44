import { expect, onTestFinished, test } from "vitest";
import { interrogate } from "../../../cli/doctor/interrogate.ts";
import { newLab } from "../../../cli/doctor/lab.ts";
import { pasted } from "../../../cli/doctor/paste.ts";
import { QUESTIONS, type QuestionId } from "../../../cli/doctor/questions.ts";
import { Interrupted } from "../../../cli/io/problem.ts";
import { connect } from "../../../cli/setup/cloudflare.ts";
import type { InsideAnswer, InsideQuestion, InsideSeen } from "../../../src/protocol/api/doctor.ts";
import { API_TOKEN, type Cloudflare, startCloudflare } from "../../support/cloudflare/server.ts";
import type { Unknowns } from "../../support/cloudflare/world.ts";

/** `doctor --live` against an account and a zone that answer each question in one way, and in the other. */

interface Zone {
  /** Where a request from each place ends. */
  readonly reaches: "tunnel" | "shield" | "challenge";
  readonly accessInside: boolean;
  readonly forwardsSecret: boolean;
  readonly batch: string | null;
  readonly unconnected: Pick<InsideSeen, "status" | "code">;
}
const BUILT_FOR: Zone = {
  reaches: "tunnel",
  accessInside: false,
  forwardsSecret: false,
  batch: null,
  unconnected: { status: 530, code: "1033" },
};
const OTHERWISE: Zone = {
  reaches: "shield",
  accessInside: true,
  forwardsSecret: true,
  batch: "D1_ERROR: too many queries",
  unconnected: { status: 502, code: null },
};

async function account(unknowns: Partial<Unknowns> = {}): Promise<Cloudflare> {
  const cloudflare = await startCloudflare();
  onTestFinished(() => cloudflare.close());
  Object.assign(cloudflare.state.unknowns, unknowns);
  return cloudflare;
}

/** What control sees, as the zone's routes, records and applications stand at that moment. */
function insideOf({ state }: Cloudflare, zone: Zone, asked: InsideQuestion): InsideAnswer {
  if (asked.kind === "batch") return { kind: "batch", refused: zone.batch };
  const nothing: InsideSeen = {
    status: null,
    error: "no such host",
    code: null,
    isShielded: false,
    stoppedBy: null,
  };
  const has = (name: string) => state.records.some((record) => record.name === name);
  if (!has(asked.hostname)) return { kind: "look", seen: nothing };
  const isShown = { ...nothing, error: null };
  if (zone.accessInside && state.accessApps.some(({ domains }) => domains.includes(asked.hostname)))
    return { kind: "look", seen: { ...isShown, status: 302, stoppedBy: "access" } };
  if (zone.reaches === "shield") return { kind: "look", seen: { ...isShown, status: 404, isShielded: true } };
  if (zone.reaches === "challenge")
    return { kind: "look", seen: { ...isShown, status: 403, stoppedBy: "challenge" } };
  return { kind: "look", seen: { ...isShown, ...zone.unconnected } };
}

function fetchOf({ state }: Cloudflare, { forwardsSecret }: Zone): typeof fetch {
  return async (input, init) => {
    const { hostname } = new URL(String(input));
    const route = state.routes.find(({ pattern }) => pattern === `${hostname}/*`);
    const secret = new Headers(init?.headers).get("cf-access-client-secret");
    const token = state.serviceTokens.find((one) => one.secret === secret);
    const app = state.accessApps.find(({ domains }) => domains.includes(hostname));
    if (!route || !app || !token) return new Response("", { status: 403 });
    return Response.json({ secret: forwardsSecret, assertion: true });
  };
}

interface Run {
  readonly zone?: Zone;
  readonly signal?: AbortSignal;
  readonly access?: boolean;
  readonly fetch?: typeof fetch;
  /** Control's clock, epoch ms. */
  readonly now?: number;
  /** Happens before control answers. */
  readonly meanwhile?: (asked: InsideQuestion) => void | Promise<void>;
}

const NOON = Date.UTC(2026, 10, 29, 12);
const MINUTE_MS = 60_000;

async function run(
  cloudflare: Cloudflare,
  { zone = BUILT_FOR, signal, access = true, fetch, now = NOON, meanwhile = () => {} }: Run = {},
) {
  const [found] = cloudflare.state.zones;
  const of = { id: found?.id ?? "", name: found?.name ?? "" };
  const installation = {
    name: "sluice",
    account: cloudflare.state.account,
    zone: of,
    slotZone: of,
    controlHostname: "sluice.example.com",
    access,
    images: false,
    region: null,
  };
  const never = new AbortController().signal;
  const sdkWith = (one: AbortSignal) => connect({ token: API_TOKEN, baseUrl: cloudflare.url, signal: one });
  const sdks = { sdk: sdkWith(signal ?? never), sweeper: sdkWith(never) };
  const lab = newLab({ ...sdks, installation, now });
  const asker = {
    signal: signal ?? never,
    askInside: async (asked: InsideQuestion) => {
      await meanwhile(asked);
      return insideOf(cloudflare, zone, asked);
    },
  };
  const done = await interrogate(asker, lab, {
    fetch: fetch ?? fetchOf(cloudflare, zone),
    sleep: async () => {},
  });
  const verdicts = Object.fromEntries(done.answers.map(({ id, verdict }) => [id, verdict]));
  return {
    ...done,
    lab,
    verdicts,
    words: (id: QuestionId) => done.answers.find((one) => one.id === id)?.words,
  };
}

const nothingLeft = ({ state }: Cloudflare) => ({
  tunnels: state.tunnels.filter(({ deletedAt }) => deletedAt === null).length,
  records: state.records.length,
  routes: state.routes.length,
  workers: [...state.workers.keys()].length,
  apps: state.accessApps.length,
  policies: state.accessPolicies.length,
  tokens: state.serviceTokens.length,
});
const EMPTY = { tunnels: 0, records: 0, routes: 0, workers: 0, apps: 0, policies: 0, tokens: 0 };
const all = (verdict: string) => Object.fromEntries(Object.keys(QUESTIONS).map((id) => [id, verdict]));

test("asks every question of a zone that is as Sluice is built for, and leaves nothing behind", async () => {
  const cloudflare = await account();
  const { verdicts, left } = await run(cloudflare);
  expect(verdicts).toEqual(all("expected"));
  expect(left).toEqual([]);
  expect(nothingLeft(cloudflare)).toEqual(EMPTY);
});

test.each<[string, Partial<Unknowns>, Partial<Zone>, Partial<Record<QuestionId, string>>]>([
  ["a new tunnel without a 404", { configuration: "empty" }, {}, {}],
  ["a catch-all that needs a hostname", { bareCatchAll: false }, {}, { "catch-all": "other" }],
  ["routes that fail open", { failOpen: true }, {}, { "failure-mode": "other" }],
  ["routes that don't say how they fail", { failOpen: null }, {}, { "failure-mode": "unasked" }],
  ["no Zero Trust organisation, and tokens all the same", { zeroTrust: false }, {}, {}],
  ["too much CPU", { cpuP99: 14_000 }, {}, { cpu: "other" }],
  ["a token that may not read analytics", { cpuP99: null }, {}, { cpu: "unasked" }],
  ["a batch that counts by statement", {}, { batch: OTHERWISE.batch }, { "d1-batch": "other" }],
  ["another answer without connector", {}, { unconnected: OTHERWISE.unconnected }, { unconnected: "other" }],
  ["Access within the zone", {}, { accessInside: true }, {}],
  ["a secret that apps see", {}, { forwardsSecret: true }, { "access-secret": "other" }],
  [
    "routes that requests within the zone meet",
    {},
    { reaches: "shield" },
    { "from-request": "other", "from-object": "other", "from-alarm": "other", unconnected: "unasked" },
  ],
  [
    "a zone that challenges",
    {},
    { reaches: "challenge" },
    { "from-request": "other", "from-object": "other", "from-alarm": "other", unconnected: "unasked" },
  ],
])("tells %s from what it is built for", async (_what, unknowns, zone, others) => {
  const cloudflare = await account(unknowns);
  const { verdicts } = await run(cloudflare, { zone: { ...BUILT_FOR, ...zone } });
  expect(verdicts).toEqual({ ...all("expected"), ...others });
  expect(nothingLeft(cloudflare)).toEqual(EMPTY);
});

test("goes on with what can be asked where a route needs its record, or Access an organisation", async () => {
  const late = await account({ routeFirst: false });
  expect((await run(late)).verdicts).toMatchObject({ "route-first": "other", "from-alarm": "expected" });
  const without = await account({ zeroTrust: false, tokensWithout: false });
  const { verdicts } = await run(without);
  expect(verdicts).toMatchObject({
    "zero-trust": "other",
    "access-inside": "other",
    "from-object": "expected",
  });
  expect([nothingLeft(late), nothingLeft(without)]).toEqual([EMPTY, EMPTY]);
});

test("asks nothing of Access where the installation has none", async () => {
  const cloudflare = await account();
  const { verdicts } = await run(cloudflare, { access: false });
  expect(verdicts).toMatchObject({ "access-inside": "unasked", "access-secret": "unasked" });
});

test("leaves nothing behind, wherever it is interrupted", {
  timeout: 60_000,
}, async () => {
  const whole = await account();
  await run(whole);
  const made = whole.log.filter(({ method }) => method === "POST" || method === "PUT").length;
  expect(made).toBeGreaterThan(10);
  for (let at = 0; at < made; at += 1) {
    const cloudflare = await account();
    const interrupt = new AbortController();
    let calls = 0;
    const push = cloudflare.log.push.bind(cloudflare.log);
    cloudflare.log.push = (...entries) => {
      if (entries.some(({ method }) => method === "POST" || method === "PUT") && calls++ === at)
        interrupt.abort(new Interrupted());
      return push(...entries);
    };
    await run(cloudflare, { signal: interrupt.signal }).catch((error) =>
      expect(error).toBeInstanceOf(Interrupted),
    );
    expect.soft({ at, ...nothingLeft(cloudflare) }).toEqual({ at, ...EMPTY });
  }
});

test("what a run that was killed left goes once it is certainly over, and is named until then", async () => {
  const cloudflare = await account();
  cloudflare.fail({ method: "DELETE", answer: "drop", times: 100 });
  const killed = await run(cloudflare);
  expect(killed.left.length).toBeGreaterThan(4);
  cloudflare.heal();
  const there = nothingLeft(cloudflare);
  const soon = await run(cloudflare, { now: NOON + 29 * MINUTE_MS });
  expect([soon.left, soon.others]).toEqual([[], [killed.lab.run]]);
  expect(nothingLeft(cloudflare)).toEqual(there);
  const later = await run(cloudflare, { now: NOON + 31 * MINUTE_MS });
  expect([later.left, later.others]).toEqual([[], []]);
  expect(nothingLeft(cloudflare)).toEqual(EMPTY);
});

test("two at once leave each other's things alone", async () => {
  const cloudflare = await account();
  let second: Awaited<ReturnType<typeof run>> | undefined;
  const first = await run(cloudflare, {
    meanwhile: async (asked) => {
      // Everything that the first needs until its end is there by now.
      const isLast = asked.kind === "look" && cloudflare.state.accessApps.length > 0;
      if (isLast) second ??= await run(cloudflare);
    },
  });
  expect(second?.verdicts).toEqual(all("expected"));
  expect(second?.others).toEqual([first.lab.run]);
  expect(first.verdicts).toEqual(all("expected"));
  expect([first.left, first.others]).toEqual([[], []]);
  expect(nothingLeft(cloudflare)).toEqual(EMPTY);
});

test("ends at once when it is interrupted while Access has not let it through yet", async () => {
  const cloudflare = await account();
  const interrupt = new AbortController();
  let asked = 0;
  const refused = async () => {
    asked += 1;
    interrupt.abort(new Interrupted());
    return new Response("", { status: 403 });
  };
  await expect(run(cloudflare, { signal: interrupt.signal, fetch: refused })).rejects.toThrow(Interrupted);
  expect(asked).toBe(1);
  expect(nothingLeft(cloudflare)).toEqual(EMPTY);
});

test("reports without a name, an id or a secret in it", async () => {
  const cloudflare = await account({ bareCatchAll: false });
  const { answers, lab } = await run(cloudflare, { zone: OTHERWISE });
  const secret = `slu_${"a".repeat(40)}`;
  const told = [
    ...answers,
    { id: "cpu" as const, verdict: "other" as const, words: `${lab.slot} at 192.0.2.7 ${secret}` },
  ];
  const { account: owner, zones } = cloudflare.state;
  const text = pasted(
    { cli: "0.1.0", control: "0.1.0", answers: told, troubles: [{ id: "host.disk", status: "warn" }] },
    { zones: zones.map(({ name }) => name), ids: [owner.id] },
  );
  for (const hidden of ["example.com", owner.id, zones[0]?.id ?? "?", secret, "192.0.2.7"])
    expect(text).not.toContain(hidden);
  expect(text).toContain("| from-alarm | Does an alarm's request? | OTHER |");
  expect(text).toContain("checks: host.disk (warn)");
});
