import { describe, expect, test } from "vitest";
import { anEnvironment, aRelease, type Route } from "../../support/cli/fake-api.ts";
import { run } from "../calls.ts";
import { ENV } from "../scenarios.ts";

describe.concurrent("a plan of a move", () => {
  const plan = { move: "promote", possible: true, refusal: null } as const;
  const split = [
    { release: "rel_2", version: "v2", weight: 50 },
    { release: "rel_1", version: "v1", weight: 50 },
  ];

  test("says what would happen, and who has the traffic then", async () => {
    const says = ["v2: promoted by you", "traffic: v2 50 %, v1 50 %"];
    const { code, stdout } = await run(["plan", "promote"], {
      [`GET ${ENV}/plan/promote`]: (_asked, answer) => answer.json(200, { ...plan, says, split }),
    });
    expect(code).toBe(0);
    expect(stdout).toContain("shop/production: promote");
    expect(stdout).toContain("traffic: v2 50 %, v1 50 %");
    expect(stdout).toMatch(/traffic +v2 50%, v1 50%/);
  });

  test("exits 2 where it would be refused, with why", async () => {
    const refusal = { code: "stale_step", detail: "nothing is on its way: there is nothing to abort" };
    const { code, stdout } = await run(["plan", "abort"], {
      [`GET ${ENV}/plan/abort`]: (_asked, answer) =>
        answer.json(200, { ...plan, move: "abort", possible: false, refusal, says: [], split }),
    });
    expect(code).toBe(2);
    expect(stdout).toContain("✖ stale_step: nothing is on its way");
  });

  test("names the moves when it is given another word", async () => {
    const { code, stderr } = await run(["plan", "dance"], {});
    expect(code).toBe(1);
    expect(stderr).toContain("deploy, promote, abort, rollback");
  });
});

describe.concurrent("weight", () => {
  const split = anEnvironment(
    [
      ["v2", 0],
      ["v1", 100],
    ],
    { active: aRelease() },
  );
  const routes = (over: Record<string, Route> = {}): Record<string, Route> => ({
    [`GET ${ENV}`]: (_asked, answer) => answer.json(200, split, { etag: '"7"' }),
    [`PUT ${ENV}/weights`]: (_asked, answer) =>
      answer.json(
        200,
        anEnvironment([
          ["v2", 25],
          ["v1", 75],
        ]),
      ),
    ...over,
  });

  test("sets the whole split from one number, against the state it saw", async () => {
    const { code, asked, stderr } = await run(["weight", "25"], routes());
    expect(code, stderr).toBe(0);
    expect(asked[1]).toMatchObject({ method: "PUT", headers: { "if-match": '"7"' } });
    expect(JSON.parse(asked[1]?.body ?? "")).toEqual({ rel_2: 25, rel_1: 75 });
    expect(stderr).toContain("now     v2 serves 25%");
  });

  test("tries again when something else than the split had changed", async () => {
    const { code, asked } = await run(
      ["weight", "25"],
      routes({
        [`PUT ${ENV}/weights`]: (_asked, answer, nth) =>
          nth === 1 ? answer.problem({ code: "precondition_failed", status: 412 }) : answer.json(200, split),
      }),
    );
    expect(code).toBe(0);
    expect(asked.filter((call) => call.method === "PUT")).toHaveLength(2);
  });

  test("refuses when the split itself moved meanwhile", async () => {
    const { code, stderr, asked } = await run(
      ["weight", "25"],
      routes({
        [`GET ${ENV}`]: (_asked, answer, nth) =>
          answer.json(
            200,
            nth === 1
              ? split
              : anEnvironment(
                  [
                    ["v2", 100],
                    ["v1", 0],
                  ],
                  { active: aRelease() },
                ),
          ),
        [`PUT ${ENV}/weights`]: (_asked, answer) =>
          answer.problem({ code: "precondition_failed", status: 412 }),
      }),
    );
    expect(code).toBe(2);
    expect(stderr).toContain("v2 serves 100%");
    expect(asked.filter((call) => call.method === "PUT")).toHaveLength(1);
  });
});
