import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import {
  aFailedRelease,
  anEnvironment,
  aRelease,
  aServingRelease,
  at,
  GOOD_EVENTS,
  type Route,
  stateEvent,
} from "../support/cli/fake-api.ts";

/** The calls one deploy makes, answered so that it goes well; tests put their own answers over these. */
export const ENV = "/api/v1/apps/shop/envs/production";
export const unchanged = {
  app: "shop",
  created: false,
  dryRun: true,
  environments: ["production"],
  changes: [],
};

export function goodDeploy(over: Readonly<Record<string, Route>> = {}): Record<string, Route> {
  return {
    "PUT /api/v1/apps/shop": (_asked, answer) => answer.json(200, unchanged),
    [`POST ${ENV}/releases`]: (_asked, answer) =>
      answer.json(202, aRelease(), { location: "/api/v1/releases/rel_2" }),
    "GET /api/v1/releases/rel_2/events": (_asked, answer) => {
      const feed = answer.feed();
      for (const event of GOOD_EVENTS) feed.event(event);
      feed.end();
    },
    "GET /api/v1/releases/rel_2": endsAs(aServingRelease()),
    [`GET ${ENV}`]: (_asked, answer) =>
      answer.json(
        200,
        anEnvironment([
          ["v2", 100],
          ["v1", 0],
        ]),
        { etag: '"7"' },
      ),
    ...over,
  };
}

/** A release is on its way until its feed has ended: the first look comes right after connecting. */
export const endsAs =
  (release: ReleaseView): Route =>
  (_asked, answer, nth) =>
    answer.json(200, nth === 1 ? aRelease() : release);

export function failedDeploy(
  release: ReleaseView = aFailedRelease(),
  over: Readonly<Record<string, Route>> = {},
): Record<string, Route> {
  return goodDeploy({
    "GET /api/v1/releases/rel_2/events": (_asked, answer) => {
      const feed = answer.feed();
      feed.event(stateEvent(1, 50, "preparing", "pulling the image on 1 host"));
      feed.event(stateEvent(2, 61_000, release.state, "ins_1 never became ready"));
      feed.end();
    },
    "GET /api/v1/releases/rel_2": endsAs(release),
    [`GET ${ENV}`]: (_asked, answer) => answer.json(200, anEnvironment([["v1", 100]])),
    ...over,
  });
}

export const VERDICT = {
  verdict: "pass",
  reason: "no-worse",
  words: "errors 0.1 % against 0.2 % on stable",
  at: at(890_000),
};
export const PAUSED = { at: at(900_000), by: "sluice", reason: "waits to be promoted", until: null };

/** A canary at 10 %, in its second step of three. */
export const aCanary = (over: Partial<ReleaseView> = {}): ReleaseView =>
  aRelease({
    strategy: "canary",
    state: "shifting",
    weight: 10,
    startedAt: at(10),
    deadlineAt: at(86_400_000),
    step: { index: 1, of: 3, label: "until it is promoted", since: at(100) },
    traffic: { requests: 9_120, failed: 3 },
    plan: {
      ...aRelease().plan,
      steps: [
        { kind: "weight", weight: 10, forMs: 900_000, label: "10 % for 15 m" },
        { kind: "pause", forMs: null, label: "until it is promoted" },
        { kind: "weight", weight: 100, forMs: 0, label: "100 %" },
      ],
      atLeastMs: null,
    },
    next: [{ command: "sluice promote rel_2 --step 2", when: "v2 is to go on" }],
    ...over,
  });
