import { describe, expect, test } from "vitest";
import { moment } from "../../../src/domain/times.ts";
import type { ReleaseView } from "../../../src/protocol/api/releases.ts";
import { anEnvironment, anEvent, aRelease, at, type Route, stateEvent } from "../../support/cli/fake-api.ts";
import { run, says, sent } from "../calls.ts";
import { aCanary, ENV, goodDeploy, PAUSED, VERDICT } from "../scenarios.ts";

/** A deploy whose canary stops at its pause. */
const stops = (release: ReleaseView, over: Record<string, Route> = {}) =>
  goodDeploy({
    "GET /api/v1/releases/rel_2/events": (_asked, answer) => {
      const feed = answer.feed();
      feed.event(stateEvent(1, 50, "shifting", "v2: answers, traffic begins to shift"));
      const step = { step: 0, of: 3 };
      feed.event(
        anEvent({
          id: 2,
          at: at(60),
          type: "release.progress",
          message: "v2: step 1 of 3, 10 %",
          data: step,
        }),
      );
      const paused = { paused: { by: "sluice", reason: "waits to be promoted", until: null } };
      feed.event(
        anEvent({ id: 3, at: at(900_000), type: "release.progress", message: "v2: paused", data: paused }),
      );
    },
    "GET /api/v1/releases/rel_2": says(release),
    [`GET ${ENV}`]: says(
      anEnvironment([
        ["v2", 10],
        ["v1", 90],
      ]),
    ),
    ...over,
  });

describe.concurrent("a deploy that comes to a pause", () => {
  test("ends with 5: how far it is, what the judge says, and the words that go on", async () => {
    const { code, stderr, stdout } = await run(
      ["deploy"],
      stops(aCanary({ paused: PAUSED, verdict: VERDICT })),
    );
    expect(code, stderr).toBe(5);
    expect(stdout).toBe("");
    expect(stderr).toContain("   0.0s              v2: step 1 of 3, 10 %\n");
    expect(stderr).toContain(`● v2 has 10% of shop/production and waits for you
  step      2 of 3: until it is promoted
  paused    by sluice: waits to be promoted
  judge     errors 0.1 % against 0.2 % on stable
  requests  3 failed of 9,120 requests
  traffic   v2 serves 10% (1 of 1 instance ready), v1 serves 90% (1 of 1 instance ready)
  gives up  at ${moment(Date.parse(at(86_400_000)))}, back to stable
  next:
    sluice promote rel_2 --step 2  v2 is to go on
`);
  });

  test("ends with 0 when that is what was asked for, and says it to a script", async () => {
    const ran = await run(["deploy", "--wait=approval", "--json"], stops(aCanary({ paused: PAUSED })));
    expect(ran.code, ran.stderr).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      command: "deploy",
      outcome: "waiting",
      exitCode: 0,
      traffic: [{ weight: 10 }, { weight: 90 }],
      next: [{ command: "sluice promote rel_2 --step 2" }],
    });
  });

  test("is no success when it is the judge who stopped it, whatever was asked for", async () => {
    const paused = { ...PAUSED, by: "analysis", reason: "errors 4.1 % against 0.2 %" };
    const verdict = { ...VERDICT, verdict: "rollback" };
    const { code } = await run(["deploy", "--wait=approval"], stops(aCanary({ paused, verdict })));
    expect(code).toBe(5);
  });

  test("goes on past a pause that ends by itself", async () => {
    const paused = { ...PAUSED, until: at(1_000_000) };
    const ends = goodDeploy({
      "GET /api/v1/releases/rel_2": (_asked, answer, nth) =>
        answer.json(200, nth < 4 ? aCanary({ paused }) : aCanary({ state: "live", weight: 100 })),
    });
    const { code, stderr } = await run(["deploy"], ends);
    expect(code, stderr).toBe(0);
  });
});

describe.concurrent("--wait", () => {
  test("stage:10 leaves as soon as the release has 10 %, and says that it goes on", async () => {
    const { code, stderr } = await run(["deploy", "--wait=stage:10"], stops(aCanary()));
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("✔ v2 has 10% of shop/production and goes on");
  });

  test("stage:50 does not take 10 % for it", async () => {
    const { code } = await run(["deploy", "--wait=stage:50"], stops(aCanary({ paused: PAUSED })));
    expect(code).toBe(5);
  });

  test.each(["stage", "stage:0", "stage:101", "promoted"])("%s is a usage error", async (word) => {
    const { code, stderr } = await run(["deploy", `--wait=${word}`], {});
    expect(code).toBe(1);
    expect(stderr).toContain("stage:<percent>");
  });

  test("watch knows it, too, and ends where the release stands", async () => {
    const { code, stderr } = await run(["watch", "rel_2"], stops(aCanary({ paused: PAUSED })));
    expect(code).toBe(5);
    expect(stderr).toContain("waits for you");
  });
});

describe.concurrent("promote, pause, resume", () => {
  test.each([
    ["promote", [], { step: 1 }, "v2 is promoted: step 3 of 3, 100 %, 10% of the traffic now"],
    ["promote", ["--full"], { step: 1, full: true }, "v2 is promoted"],
    ["pause", [], { step: 1 }, "v2 is paused"],
    ["resume", [], { step: 1 }, "v2 goes on"],
    ["promote", ["--step", "1"], { step: 0 }, "v2 is promoted"],
  ])("%s %j sends the step that was seen", async (verb, flags, body, said) => {
    const after = aCanary({ step: { index: 2, of: 3, label: "100 %", since: null } });
    const ran = await run([verb, "rel_2", ...flags], {
      "GET /api/v1/releases/rel_2": says(aCanary({ paused: PAUSED })),
      [`POST /api/v1/releases/rel_2/${verb}`]: says(after),
    });
    expect(ran.code, ran.stderr).toBe(0);
    expect(sent(ran.asked, "POST")).toEqual([{ path: `/api/v1/releases/rel_2/${verb}`, body }]);
    expect(ran.stderr).toContain(said);
    expect(ran.stderr).toContain("watch  sluice watch rel_2");
  });

  test("without an id mean the release on its way, and say so when there is none", async () => {
    const active = aCanary({ paused: PAUSED });
    const ran = await run(["promote"], {
      [`GET ${ENV}`]: says(anEnvironment([["v1", 100]], { active })),
      "GET /api/v1/releases/rel_2": says(active),
      "POST /api/v1/releases/rel_2/promote": says(aCanary()),
    });
    expect(ran.code, ran.stderr).toBe(0);
    const none = await run(["promote"], { [`GET ${ENV}`]: says(anEnvironment()) });
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("nothing to promote");
  });

  test("take a version for its release, and name the newest ones when there is no such", async () => {
    const listed = says({ items: [aCanary(), aRelease({ id: "rel_1", version: "v1" })], nextCursor: null });
    const ran = await run(["promote", "v2"], {
      [`GET ${ENV}/releases`]: listed,
      "GET /api/v1/releases/rel_2": says(aCanary({ paused: PAUSED })),
      "POST /api/v1/releases/rel_2/promote": says(aCanary()),
    });
    expect(ran.code, ran.stderr).toBe(0);
    const none = await run(["promote", "v9"], { [`GET ${ENV}/releases`]: listed });
    expect(none.code).toBe(1);
    expect(none.stderr).toContain("no release v9");
    expect(none.stderr).toContain("v2, v1");
  });

  test("that come too late are refused with 2, naming the step that was meant", async () => {
    const ran = await run(["promote", "rel_2", "--step", "1"], {
      "GET /api/v1/releases/rel_2": says(aCanary()),
      "POST /api/v1/releases/rel_2/promote": (_asked, answer) =>
        answer.problem({
          code: "stale_step",
          status: 409,
          detail: "v2 is in step 2 of 3, not in step 1 any more",
          next: [{ command: "sluice status", when: "to see where the release is now" }],
        }),
    });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain("not in step 1 any more");
    expect(ran.stderr).toContain("sluice status");
  });
});

test("rollback during a canary takes its traffic back at once", async () => {
  const [from, to] = [
    { release: "rel_2", version: "v2" },
    { release: "rel_1", version: "v1" },
  ];
  const ran = await run(["rollback"], {
    [`POST ${ENV}/rollback`]: says(
      { how: "instant", from, to, release: aCanary({ state: "rolling_back" }) },
      202,
    ),
    [`GET ${ENV}`]: says(anEnvironment([["v1", 100]])),
  });
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.stderr).toContain("shop/production: v2 → v1 (instant)");
});

describe.concurrent("a canary that is rolled back", () => {
  const rolledBack = aCanary({
    state: "rolled_back",
    weight: 0,
    endedAt: at(95_000),
    traffic: { requests: 18_204, failed: 41 },
    failure: {
      code: "analysis_failed",
      message: "errors 4.1 % against 0.2 % on stable, 412 and 3,704 requests: rolled back",
      check: {
        name: "canary analysis (errors)",
        value: "errors 4.1 % of 412",
        limit: "stable: 0.2 % of 3704",
      },
      logs: [],
    },
    next: [{ command: "sluice verdicts rel_2", when: "to see the numbers it was judged by" }],
  });
  const routes = (split: Parameters<typeof anEnvironment>[0]) => ({
    "GET /api/v1/releases/rel_2": says(rolledBack),
    [`GET ${ENV}`]: says(anEnvironment(split)),
  });

  test("is 3 when the traffic is back: the value against the limit, and how many visitors' requests failed", async () => {
    const { code, stderr } = await run(["watch", "rel_2"], routes([["v1", 100]]));
    expect(code).toBe(3);
    expect(
      stderr,
    ).toBe(`✖ v2 rolled back after 95 s: errors 4.1 % against 0.2 % on stable, 412 and 3,704 requests: rolled back
  check        canary analysis (errors)
  value        errors 4.1 % of 412
  limit        stable: 0.2 % of 3704
  requests     41 failed of 18,204 requests
  traffic now  v1 serves 100% (1 of 1 instance ready)
  next:
    sluice verdicts rel_2  to see the numbers it was judged by
`);
  });

  test("is 4 when it is not", async () => {
    const split = routes([
      ["v2", 10],
      ["v1", 90],
    ]);
    expect((await run(["watch", "rel_2"], split)).code).toBe(4);
  });
});

describe.concurrent("deploy and plan", () => {
  test("hand on --hold and --override, and nothing where they are not given", async () => {
    const ran = await run(["deploy", "--hold", "--override", "--detach"], goodDeploy());
    expect(sent(ran.asked, "POST")[0]?.body).toMatchObject({ hold: true, override: true });
    const without = await run(["deploy", "--detach"], goodDeploy());
    expect(sent(without.asked, "POST")[0]?.body).not.toHaveProperty("hold");
  });

  test("plan tells the price of a bad release, and what a step lacks", async () => {
    const fault = { afterMs: 56_000, requests: 112, failed: 6 };
    const slow = { afterMs: null, requests: 1_200, failed: 0 };
    const price = {
      traffic: { rate: 20.4, errorRate: 0.002, overMs: 97_200_000 },
      faults: [
        {
          what: "fails 5 %",
          ...fault,
          words: "fails 5 % of its requests: gone after some 56 s, 6 requests failed",
        },
        { what: "slow", ...slow, words: "takes twice as long: not found by itself, 1,200 requests slower" },
      ],
      says: ["step 1, 10 % for 15 m: a good release is proven after some 4 m"],
    };
    const load = "up to 660 GETs of / by control, while visitors are fewer than 1 a second; not judged";
    const route = says({ ...aRelease().plan, price, load });
    const { stdout } = await run(["plan"], { "POST /api/v1/apps/shop/envs/production/releases": route });
    expect(stdout).toContain(`  load       ${load}
  price      by 20 requests a second, 0.2% of them errors (the last 1 d 3 h)
             fails 5 % of its requests: gone after some 56 s, 6 requests failed
             takes twice as long: not found by itself, 1,200 requests slower
             step 1, 10 % for 15 m: a good release is proven after some 4 m
`);
  });

  test("plan lists a canary's steps, hooks, time, what can't be taken back, and what is in the way", async () => {
    const steps = aCanary().plan.steps;
    const hooks = [{ hook: "contract", command: ["npm", "run", "contract"], when: "once, 10 m after" }];
    const rollback = "instant for 10 m; then its contract migration makes going back impossible";
    const problems = [{ code: "window_closed", detail: "releases may begin Tue; next opening: 2026-11-24" }];
    const plan = { ...aRelease().plan, steps, atLeastMs: 900_000, hooks, rollback, problems };
    const { code, stdout } = await run(["plan"], { [`POST ${ENV}/releases`]: says(plan) });
    expect(code).toBe(2);
    const named = await run(["plan", "--image", "file:nope"], { [`POST ${ENV}/releases`]: says(plan) });
    expect(named.stdout).toContain("  image      file:nope, which its hosts look for when it is released\n");
    expect(stdout).toBe(`shop/production
  replaces   v1
  instances  1 instance: web-1 (slot 3)
  traffic    1. 10 % for 15 m
             2. until it is promoted
             3. 100 %
  takes      at least 15 m, image pull and start apart
  contract   npm run contract  (once, 10 m after)
  keeps      v1 warm for 10 m
  rollback   ${rollback}
in the way:
  ✖ window_closed: releases may begin Tue; next opening: 2026-11-24
`);
  });
});

test("hosts remove --force says so to control", async () => {
  const host = {
    id: "host_1",
    name: "web-1",
    labels: {},
    runtime: "docker",
    agentVersion: "1",
    state: "offline",
    lastSeenAt: null,
    clockSkewMs: null,
    facts: null,
    factsAt: null,
    rotateAt: null,
    slots: { total: 1, used: 1, reserved: 0, free: 0 },
    instances: [],
    createdAt: at(0),
  };
  const ran = await run(["hosts", "remove", "web-1", "--force", "--yes"], {
    "GET /api/v1/hosts/web-1": says(host),
    "DELETE /api/v1/hosts/web-1": says(host),
  });
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.asked.find(({ method }) => method === "DELETE")?.query.get("force")).toBe("1");
});
