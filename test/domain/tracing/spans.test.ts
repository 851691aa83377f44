import { describe, expect, it } from "vitest";
import { type Span, type Story, spansUntil } from "../../../src/domain/tracing/spans.ts";
import { aSpec } from "../rollout/spec.ts";

let id = 0;
const event = (at: number, type: string, data: Record<string, unknown>, message = "said") => {
  id += 1;
  return { id, at, type, actor: "ann", message, data };
};
const move = (at: number, from: string | null, state: string, more: object = {}) =>
  event(at, "release.state", { from, state, ...more });
const story = (more: Partial<Story>): Story => ({
  app: "shop",
  environment: "production",
  release: {
    id: "rel_1",
    version: "v1",
    kind: "deploy",
    by: "ann",
    image: "shop:1",
    digest: null,
    git: { sha: "abc" },
    spec: aSpec({}),
    createdAt: 0,
    smoke: null,
  },
  events: [],
  jobs: [],
  probes: [],
  verdicts: [],
  ...more,
});
const brief = (spans: readonly Span[]) => spans.map(({ name, start, end }) => [name, start, end]);
const named = (spans: readonly Span[], name: string) => spans.filter((span) => span.name === name);

describe("the spans of a canary that was taken back", () => {
  const failure = { code: "analysis_failed", message: "errors 20 % of 400" };
  const events = [
    move(0, null, "queued"),
    move(10, "queued", "shifting"),
    event(20, "release.progress", { step: 0, of: 3 }),
    event(60, "release.progress", { step: 1, of: 3 }),
    move(90, "shifting", "rolling_back", { failure }),
    move(99, "rolling_back", "rolled_back"),
  ];
  const verdict = { reason: "errors", words: "20 % against 1 %" };
  const verdicts = [
    { window: 0, at: 30, verdict: "continue", ...verdict },
    { window: 70, at: 80, verdict: "rollback", ...verdict },
  ];
  const spans = spansUntil(story({ events, verdicts }), events.at(-1)?.id ?? 0);

  it("are its states, its steps in them, and the judgements in those", () => {
    expect(brief(spans)).toEqual([
      ["release shop/production", 0, 99],
      ["state queued", 0, 10],
      ["state shifting", 10, 90],
      ["state rolling_back", 90, 99],
      ["step", 20, 60],
      ["step", 60, 90],
      ["judgement", 20, 30],
      ["judgement", 70, 80],
    ]);
    const [first, second] = named(spans, "step");
    expect(named(spans, "judgement").map(({ parent }) => parent)).toEqual([first?.key, second?.key]);
    expect(new Set(spans.map(({ key }) => key)).size).toBe(spans.length);
  });

  it("say where it failed, and why", () => {
    const bad = spans.filter(({ status }) => status.code === "error").map(({ name }) => name);
    expect(bad).toEqual(["release shop/production", "state shifting", "judgement"]);
    expect(named(spans, "state shifting")[0]?.status).toEqual({ code: "error", message: failure.message });
    expect(spans[0]?.attributes).toMatchObject({
      "sluice.outcome": "rolled_back",
      "vcs.ref.head.revision": "abc",
    });
  });

  it("are none at an event that ends nothing", () => {
    for (const { id: each } of events.slice(0, -1)) expect(spansUntil(story({ events }), each)).toEqual([]);
  });
});

it("an instance that never answered was asked as long as the state lasted", () => {
  const failure = { code: "deadline", message: "no answer" };
  const events = [
    move(0, null, "queued"),
    move(5, "queued", "verifying"),
    move(50, "verifying", "failed", { failure }),
  ];
  const probes = [
    { instance: "rel_1-1", host: "anna", verifiedAt: 9, cause: null },
    { instance: "rel_1-2", host: "bert", verifiedAt: null, cause: "GET /: no route" },
  ];
  const spans = spansUntil(story({ events, probes }), events.at(-1)?.id ?? 0);
  expect(brief(named(spans, "probe"))).toEqual([
    ["probe", 5, 9],
    ["probe", 5, 50],
  ]);
  expect(named(spans, "probe")[1]?.status).toEqual({ code: "error", message: "GET /: no route" });
});

it("a contract hook that ends long after is told when it ended, and nothing twice", () => {
  const events = [
    move(0, null, "settling"),
    move(10, "settling", "live"),
    event(500, "release.progress", { contracted: true }),
    move(900, "live", "superseded"),
  ];
  const job = { host: "anna", instance: null, attempts: 1, state: "done", error: null };
  const jobs = [
    { ...job, id: "pull-1", kind: "pull", hook: null, createdAt: 0, finishedAt: 10 },
    { ...job, id: "contract-1", kind: "run", hook: "contract", createdAt: 400, finishedAt: 480 },
  ];
  const told = events.map((one) => spansUntil(story({ events, jobs }), one.id));
  expect(told.map((spans) => spans.map(({ name }) => name))).toEqual([
    [],
    ["release shop/production", "state settling", "job pull"],
    ["hook contract"],
    [],
  ]);
});
