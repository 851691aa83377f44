import { describe, expect, test } from "vitest";
import { EXIT_OF_PROBLEM } from "../../cli/exit-codes.ts";
import { PROBLEM_CODES } from "../../src/protocol/problem.ts";
import {
  aFailedRelease,
  anEnvironment,
  aRelease,
  aServingRelease,
  closedUrl,
  fakeApi,
  MANIFEST,
  type Route,
} from "../support/cli/fake-api.ts";
import { callCli, runCli } from "../support/cli/run-cli.ts";
import { ENV, endsAs, failedDeploy, goodDeploy } from "./scenarios.ts";

interface Row {
  readonly promise: string;
  readonly code: number;
  readonly args: readonly string[];
  readonly routes: Readonly<Record<string, Route>>;
  readonly files?: Readonly<Record<string, string>>;
}
const withManifest = { "sluice.yaml": MANIFEST };
const refuses = (code: (typeof PROBLEM_CODES)[number], status: number): Record<string, Route> =>
  goodDeploy({ [`POST ${ENV}/releases`]: (_asked, answer) => answer.problem({ code, status }) });
const lookingAt = (...shares: Parameters<typeof anEnvironment>): Record<string, Route> => ({
  [`GET ${ENV}`]: (_asked, answer) => answer.json(200, anEnvironment(...shares)),
});
const hanging: Route = (_asked, answer) => void answer.feed();

const DEPLOY: readonly Row[] = [
  { promise: "0 when the release serves all traffic", code: 0, args: ["deploy"], routes: goodDeploy() },
  {
    promise: "0 when it is started and not waited for",
    code: 0,
    args: ["deploy", "--detach"],
    routes: goodDeploy(),
  },
  { promise: "1 for an unknown flag", code: 1, args: ["deploy", "--imag", "x"], routes: {} },
  { promise: "1 for an unknown environment", code: 1, args: ["deploy", "-e", "prod"], routes: {} },
  {
    promise: "1 for a manifest with an unknown key",
    code: 1,
    args: ["deploy"],
    routes: {},
    files: { "sluice.yaml": `${MANIFEST}repliacs: 3\n` },
  },
  {
    promise: "1 for a token control doesn't know",
    code: 1,
    args: ["deploy"],
    routes: refuses("unauthenticated", 401),
  },
  { promise: "1 for a token that may not", code: 1, args: ["deploy"], routes: refuses("forbidden", 403) },
  {
    promise: "2 when another release is in progress",
    code: 2,
    args: ["deploy"],
    routes: refuses("release_in_progress", 409),
  },
  { promise: "2 when no slot is free", code: 2, args: ["deploy"], routes: refuses("no_slots", 409) },
  {
    promise: "2 when a newer release took its place before it began",
    code: 2,
    args: ["deploy"],
    routes: failedDeploy(aRelease({ state: "superseded" })),
  },
  {
    promise: "3 when it failed and the old version serves",
    code: 3,
    args: ["deploy"],
    routes: failedDeploy(),
  },
  {
    promise: "3 when it was rolled back and the old version serves",
    code: 3,
    args: ["deploy"],
    routes: failedDeploy(aFailedRelease({ state: "rolled_back", servingAt: null })),
  },
  {
    promise: "3 when a person aborted it and the old version serves",
    code: 3,
    args: ["deploy"],
    routes: failedDeploy(aFailedRelease({ state: "aborted", failure: null })),
  },
  {
    promise: "4 when it failed and still has traffic",
    code: 4,
    args: ["deploy"],
    routes: failedDeploy(
      aFailedRelease(),
      lookingAt([
        ["v2", 50],
        ["v1", 50],
      ]),
    ),
  },
  {
    promise: "4 when it failed and the old version has no ready instance",
    code: 4,
    args: ["deploy"],
    routes: failedDeploy(aFailedRelease(), lookingAt([["v1", 100, 0]])),
  },
  {
    promise: "4 when it failed and nobody can say where the traffic is",
    code: 4,
    args: ["deploy"],
    routes: failedDeploy(aFailedRelease(), {
      [`GET ${ENV}`]: (_asked, answer) => answer.problem({ code: "internal", status: 500 }),
    }),
  },
  { promise: "6 when control is broken", code: 6, args: ["deploy"], routes: refuses("internal", 500) },
  {
    promise: "6 when waiting takes longer than --timeout",
    code: 6,
    args: ["deploy", "--timeout", "300ms"],
    routes: goodDeploy({ "GET /api/v1/releases/rel_2/events": hanging }),
  },
];

const OTHERS: readonly Row[] = [
  { promise: "0 for status", code: 0, args: ["status"], routes: lookingAt() },
  {
    promise: "0 for a plan without problems",
    code: 0,
    args: ["plan"],
    routes: { [`POST ${ENV}/releases`]: (_asked, answer) => answer.json(200, aRelease().plan) },
  },
  {
    promise: "2 for a plan that would be refused",
    code: 2,
    args: ["plan"],
    routes: {
      [`POST ${ENV}/releases`]: (_asked, answer) =>
        answer.json(200, { ...aRelease().plan, problems: [{ code: "no_slots", detail: "web-1 is full" }] }),
    },
  },
  {
    promise: "2 for a rollback with nothing to go back to",
    code: 2,
    args: ["rollback"],
    routes: {
      [`POST ${ENV}/rollback`]: (_asked, answer) =>
        answer.problem({ code: "nothing_to_roll_back", status: 409 }),
    },
  },
  {
    promise: "0 for an abort once the traffic is back",
    code: 0,
    args: ["abort", "rel_2"],
    routes: failedDeploy(aFailedRelease({ state: "aborted", failure: null }), {
      "POST /api/v1/releases/rel_2/abort": (_asked, answer) =>
        answer.json(202, aRelease({ state: "rolling_back" })),
    }),
  },
  {
    promise: "4 for an abort whose traffic did not come back",
    code: 4,
    args: ["abort", "rel_2"],
    routes: failedDeploy(aFailedRelease({ state: "aborted" }), {
      "POST /api/v1/releases/rel_2/abort": (_asked, answer) =>
        answer.json(202, aRelease({ state: "rolling_back" })),
      ...lookingAt([["v2", 100]]),
    }),
  },
  {
    promise: "2 for an abort that came too late",
    code: 2,
    args: ["abort", "rel_2"],
    routes: goodDeploy({
      "POST /api/v1/releases/rel_2/abort": (_asked, answer) =>
        answer.json(202, aRelease({ state: "shifting" })),
      "GET /api/v1/releases/rel_2": endsAs(aServingRelease()),
    }),
  },
  {
    promise: "1 for removing a host unasked",
    code: 1,
    args: ["token", "revoke", "tok_1"],
    routes: {},
  },
  {
    promise: "1 for an address that isn't Sluice",
    code: 1,
    args: ["status"],
    routes: { [`GET ${ENV}`]: (_asked, answer) => answer.raw(200, "text/html", "<h1>Welcome</h1>") },
  },
  {
    promise: "6 when a gateway answers for control",
    code: 6,
    args: ["status"],
    routes: { [`GET ${ENV}`]: (_asked, answer) => answer.raw(502, "text/html", "<h1>Bad gateway</h1>") },
  },
  { promise: "0 for help", code: 0, args: ["rollback", "-h"], routes: {} },
  { promise: "0 for the version", code: 0, args: ["--version"], routes: {} },
  { promise: "0 for the version, for a script", code: 0, args: ["--json", "--version"], routes: {} },
  { promise: "1 for no command", code: 1, args: [], routes: {} },
];

/** The table runs in this process; these rows also as one of their own: it goes well, it fails, it leaves a connection open. */
const AS_PROCESS = new Set([
  "0 when the release serves all traffic",
  "3 when it failed and the old version serves",
  "6 when waiting takes longer than --timeout",
]);

describe.concurrent("it exits with", () => {
  test.each([...DEPLOY, ...OTHERS])("$promise ($args)", async ({ promise, code, args, routes, files }) => {
    await using api = await fakeApi(routes);
    const options = { url: api.url, files: files ?? withManifest };
    const ran = await callCli(args, options);
    expect(ran, ran.stderr).toMatchObject({ code });
    if (!AS_PROCESS.has(promise)) return;
    await using again = await fakeApi(routes);
    expect(await runCli(args, { ...options, url: again.url })).toMatchObject({ code });
  });

  test("6 when nothing listens at the address", async () => {
    const url = await closedUrl();
    const ran = await callCli(["status"], { url, files: withManifest });
    expect(ran.code).toBe(6);
    expect(ran.stderr).toContain(`can't reach ${url}: connection refused`);
    expect(ran.stderr).toContain("SLUICE_URL");
  });

  test("1 when no control plane is set", async () => {
    const ran = await callCli(["status"], { files: withManifest });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain("SLUICE_URL");
  });
});

describe("the table", () => {
  test("has an exit code for every problem the API can answer", () => {
    expect(Object.keys(EXIT_OF_PROBLEM).sort()).toEqual([...PROBLEM_CODES].sort());
  });
});
