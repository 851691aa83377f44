import { env } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deliver } from "../../../src/control/notify/deliver.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { insertEvent } from "../../../src/control/store/events.ts";
import { listWebhooks } from "../../../src/control/store/notify/webhooks.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { Api } from "../support/api.ts";
import { SlackStandIn } from "../support/slack.ts";
import * as world from "../support/world.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const SLACK = { token: "xoxb-1234567890", channel: "#releases", signingSecret: SECRET };
const APPROVAL = { gate: "traffic" as const, step: null, needed: 1, deadlineAt: 9e12, subject: "sha256:ab" };
const failure = { code: "smoke_failed", message: "GET /health answered 500, 200 wanted", logs: [] };

let api: Api;
let slack: SlackStandIn;
let release: string;
let target: string;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { SECRETS_KEY: `k1:${btoa("0123456789abcdef0123456789abcdef")}` });
  slack = new SlackStandIn(() => api.time);
  vi.stubGlobal("fetch", async (input: RequestInfo, init?: RequestInit) => {
    const request = new Request(input, init);
    if (!request.url.startsWith("https://slack.com/api/")) throw new Error(`asked ${request.url}`);
    return slack.answer(request);
  });
  const environmentId = await world.applied(api);
  release = await world.release(environmentId, { version: "v2", state: "shifting", startedAs: ["github:7"] });
  const added = await api.post("/api/v1/webhooks", { slack: SLACK });
  expect(added.status).toBe(201);
  const view = await added.json<{ id: string }>();
  expect(JSON.stringify(view)).not.toMatch(/xoxb|0123456789abcdef/);
  target = view.id;
});
afterEach(() => vi.unstubAllGlobals());

/** An event, and the release as it is since then. */
async function happen(message: string, data: Record<string, unknown>, more: object = {}): Promise<void> {
  const state = typeof data.state === "string" && !("run" in data) ? { state: data.state as "live" } : {};
  const approval = data.approval ? { approval: { ...APPROVAL, askedAt: 0, given: [] } } : {};
  const change = { ...state, ...approval };
  if (Object.keys(change).length > 0)
    await world.db.update(releases).set(change).where(eq(releases.id, release));
  await insertEvent(openDb(env.DB), {
    ...{ at: api.time, type: "release.state", actor: "token:ci", app: "shop", environment: "production" },
    ...{ environmentId: "env_1", releaseId: release, message, data },
    ...more,
  });
}
/** Time goes on to each next try, as the notifier's alarm has it. */
async function tell(forMs = 0): Promise<void> {
  const until = api.time + forMs;
  for (let turn = 0; turn < 200; turn++) {
    const { next } = await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
    if (next === null || next > Math.max(until, api.time + 10_000)) break;
    api.time = Math.max(api.time, next);
  }
  api.time = Math.max(api.time, until);
}
const texts = () => slack.messages.map(({ text }) => text.replace("shop/production ", ""));

describe("the buttons of a release's message", () => {
  const buttons = () => slack.parents.map((one) => slack.buttonsOf(one).map(({ action_id }) => action_id));

  it("are for approval as long as it waits for one, whatever else is told of it", async () => {
    await happen(
      "v2: waits for approval (0 of 2 given)",
      { approval: APPROVAL },
      { type: "release.approval" },
    );
    await happen("v2: step 2 of 3, pause", { step: 1, of: 3 }, { type: "release.progress" });
    await happen("v2: approved by bob, 1 more needed", { approved: {} }, { type: "release.approval" });
    await tell(60_000);
    expect(buttons()).toEqual([["approve", "reject"]]);
    await world.db.update(releases).set({ approval: null }).where(eq(releases.id, release));
    await happen("v2: traffic begins to shift", { state: "shifting" });
    await tell();
    expect(buttons()).toEqual([["abort"]]);
  });

  it("are none once it is live, and what its schedules and workers do leaves its message alone", async () => {
    await happen("v2 is live", { state: "live" });
    await tell();
    await happen("cron: succeeded", { run: "r", state: "succeeded" }, { type: "run.state" });
    await happen("v2 can't carry its traffic", { failure }, { type: "traffic.alert" });
    await tell(60_000);
    expect([buttons(), texts()]).toEqual([[[]], ["v2 is live", "v2 can't carry its traffic"]]);
    expect(slack.parents[0]?.text).toContain("v2 is live");
  });
});

describe("a Slack app", () => {
  it("has one message per release, changed as it goes, and its events in the thread", async () => {
    await happen("v2: pulling", { state: "preparing" });
    await happen("v2: traffic begins to shift", { state: "shifting" });
    await tell();
    await happen("v2 was rolled back", { state: "rolled_back", failure });
    await tell();
    const [parent] = slack.parents;
    expect(slack.parents).toHaveLength(1);
    expect(parent).toMatchObject({ text: "shop/production v2 was rolled back", edits: 2 });
    expect(slack.messages.map(({ thread, broadcast }) => [thread === parent?.ts, broadcast])).toEqual([
      [false, false],
      [true, false],
      [true, true],
    ]);
    expect(slack.buttonsOf(parent ?? expect.fail("nothing said"))).toEqual([]);
  });

  it("keeps to Slack's pace: nothing is lost, and the order is kept", async () => {
    const many = Array.from({ length: 8 }, (_, n) => `event ${n}`);
    for (const message of many) await happen(message, { state: "shifting" });
    await tell(60_000);
    expect(texts().slice(1)).toEqual(many.slice(1));
    expect(slack.parents[0]?.text).toContain("event 7");
  });

  it("waits as long as a 429 says, and counts it as no try", async () => {
    slack.trouble = () => new Response("", { status: 429, headers: { "retry-after": "40" } });
    await happen("v2: pulling", { state: "preparing" });
    const at = { env: api.env, db: openDb(env.DB), now: () => api.time };
    for (let n = 0; n < 15; n++) {
      const { next } = await deliver(at);
      expect(next).toBe(api.time + 40_000);
      api.time += 40_000;
    }
    slack.trouble = null;
    await tell();
    expect(texts()).toEqual(["v2: pulling"]);
  });

  it("is given up aloud when Slack asks for patience for days, with all that waits behind it", async () => {
    slack.trouble = () => new Response("", { status: 429, headers: { "retry-after": "99999999" } });
    for (const one of ["one", "two", "three"]) await happen(one, { state: "preparing" });
    await tell(4 * 86_400_000);
    slack.trouble = () => expect.fail("it was asked once more");
    await tell(3_600_000 + 1);
    const { items } = await (await api.get(`/api/v1/webhooks/${target}/deliveries`)).json<{
      items: { state: string; error: string }[];
    }>();
    expect(items.map(({ state }) => state)).toEqual(["failed", "failed", "failed"]);
    const audit = await (await api.get("/api/v1/audit")).json<{
      items: { type: string; message: string }[];
    }>();
    const told = audit.items.filter(({ type }) => type === "webhook.given_up");
    expect(told).toHaveLength(3);
    expect(told.at(-1)?.message).toMatch(/not taken within four days: Slack said ratelimited/);
    slack.trouble = null;
    expect(await (await api.post(`/api/v1/webhooks/${target}/replay`, {})).json()).toEqual({ replayed: 3 });
    await tell(60_000);
    expect(texts()).toEqual(["three", "two", "three"]);
  });

  it("loses nothing and keeps the order when Slack is down for an hour", async () => {
    slack.trouble = () => new Response("oh no", { status: 503 });
    await happen("one", { state: "preparing" });
    await tell(1_800_000);
    await happen("two", { state: "shifting" });
    await tell(1_800_000);
    slack.trouble = null;
    await tell(4 * 3_600_000);
    expect(slack.parents).toHaveLength(1);
    expect(texts()).toEqual(["two", "two"]);
  });

  it.each(["invalid_auth", "channel_not_found"])("gives up aloud when Slack says %s", async (error) => {
    slack.trouble = () => Response.json({ ok: false, error });
    await happen("v2: pulling", { state: "preparing" });
    await tell();
    const [row] = await listWebhooks(openDb(env.DB));
    expect(row?.disabledCause).toBe(`Slack said ${error}`);
    const log = await (await api.get("/api/v1/audit")).json<{ items: { type: string }[] }>();
    expect(log.items.map(({ type }) => type)).toContain("webhook.disabled");
  });

  it("makes another message when somebody deleted its own, and stays within Slack's bounds", async () => {
    await happen("x".repeat(5_000), { state: "preparing" });
    await tell();
    slack.messages.length = 0;
    await happen("<!channel> & <https://evil.test|x>", { state: "shifting" });
    await tell();
    expect(slack.parents[0]?.text).toBe("shop/production &lt;!channel&gt; &amp; &lt;https://evil.test|x&gt;");
  });
});

describe("a button in Slack", () => {
  interface Sent {
    readonly user?: string;
    readonly at?: number;
    readonly secret?: string;
    readonly text?: string;
    readonly signature?: string;
    readonly target?: string;
  }
  const payloadOf = (action: string, value: string, user: string) =>
    new URLSearchParams({
      payload: JSON.stringify({
        ...{ type: "block_actions", team: { id: "T1" }, user: { id: user } },
        actions: [{ action_id: action, value }],
      }),
    }).toString();

  function press(action: string, sent: Sent = {}, value?: string) {
    const { user = "U1", at = api.time, secret = SECRET } = sent;
    const text = payloadOf(action, value ?? JSON.stringify({ release, digest: "sha256:ab" }), user);
    const timestamp = String(Math.floor(at / 1_000));
    const signature =
      sent.signature ?? `v0=${createHmac("sha256", secret).update(`v0:${timestamp}:${text}`).digest("hex")}`;
    return api.call("POST", `/slack/${sent.target ?? target}/actions`, {
      token: null,
      text: sent.text ?? text,
      headers: {
        ...{ "content-type": "application/x-www-form-urlencoded" },
        ...{ "x-slack-request-timestamp": timestamp, "x-slack-signature": signature },
      },
    });
  }
  const asked = () => api.coordinators.asked.map(({ what }) => what).filter((what) => what !== "poke");

  async function linked(role = "approver", place: object = { app: "shop" }): Promise<void> {
    await api.put("/api/v1/people/links", { identity: "slack:T1/U1", email: "ann@acme.test" });
    await api.post("/api/v1/people/grants", { who: "ann@acme.test", role, ...place });
  }

  it("is there while it can be pressed, and does what it says for who is linked", async () => {
    await linked();
    await happen("v2: waits for approval", { approval: APPROVAL }, { type: "release.approval" });
    await tell();
    const [parent] = slack.parents;
    const buttons = slack.buttonsOf(parent ?? expect.fail("nothing said"));
    expect(buttons.map(({ action_id }) => action_id)).toEqual(["approve", "reject"]);
    expect((await press("approve", {}, buttons[0]?.value)).status).toBe(200);
    expect(api.coordinators.of("approve")[0]?.input).toMatchObject({
      ...{ release, actor: "slack:ann@acme.test", subject: "sha256:ab", starter: ["github:7"] },
      identities: ["slack:ann@acme.test", "person:ann@acme.test", "slack:T1/U1"],
    });
    expect(slack.ephemeral).toEqual(["Approve: done."]);
    for (const action of ["reject", "abort"]) await press(action);
    expect(asked()).toEqual(["approve", "reject", "abort"]);
  });

  it.each<[string, () => Sent]>([
    ["signed by another secret", () => ({ secret: "f".repeat(32) })],
    ["six minutes old", () => ({ at: api.time - 360_000 })],
    ["from six minutes ahead", () => ({ at: api.time + 360_000 })],
    ["changed on its way", () => ({ text: payloadOf("abort", JSON.stringify({ release }), "U9") })],
    ["without a signature", () => ({ signature: "" })],
    ["signed with another scheme", () => ({ signature: `v1=${"0".repeat(64)}` })],
    ["to another target", () => ({ target: "hook_none" })],
  ])("counts for nothing when it is %s", async (_, sent) => {
    await linked();
    expect((await press("approve", sent())).status).toBe(403);
    expect(asked()).toEqual([]);
  });

  it("counts once", async () => {
    await linked();
    expect([(await press("approve")).status, (await press("approve")).status]).toEqual([200, 403]);
    expect(asked()).toEqual(["approve"]);
  });

  it("says to the one who pressed it why it did nothing", async () => {
    await press("approve");
    await linked("viewer");
    api.time += 1_000;
    await press("approve");
    api.time += 1_000;
    await press("abort", {}, JSON.stringify({ release: "rel_none" }));
    api.time += 1_000;
    api.coordinators.refusal = { code: "own_release", detail: "it needs the approval of somebody else" };
    await api.post("/api/v1/people/grants", { who: "ann@acme.test", role: "approver" });
    await press("approve");
    expect(slack.ephemeral).toEqual([
      expect.stringContaining("sluice people link <email> slack:T1/U1"),
      expect.stringContaining("needs the role approver".replace("needs", "need")),
      expect.stringContaining("no such release"),
      expect.stringContaining("somebody else"),
    ]);
    expect(asked()).toEqual(["approve"]);
  });

  it.each(["", "{", "[]", JSON.stringify({ release: 7 })])(
    "with the value `%s` is none of Sluice's",
    async (value) => {
      await linked();
      expect((await press("approve", {}, value)).status).toBe(400);
    },
  );
});
