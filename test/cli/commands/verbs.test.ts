import { describe, expect, test } from "vitest";
import {
  aFailedRelease,
  anEnvironment,
  anEvent,
  anInstance,
  aRelease,
  aServingRelease,
  at,
  MANIFEST,
  type Route,
} from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { page, run } from "../calls.ts";
import { ENV, failedDeploy, goodDeploy, unchanged } from "../scenarios.ts";

describe.concurrent("apply", () => {
  test("sends the file as it is and lists what changed", async () => {
    const changes = [{ path: "environments.production.replicas", before: 1, after: 3 }];
    const { code, stderr, stdout, asked } = await run(["apply"], {
      "PUT /api/v1/apps/shop": (_asked, answer) => answer.json(200, { ...unchanged, dryRun: false, changes }),
    });
    expect(code).toBe(0);
    expect(asked[0]?.body).toBe(MANIFEST);
    expect(stderr).toBe("shop: 1 change made\n  environments.production.replicas: 1 → 3\n");
    expect(stdout).toBe("");
  });

  test("shows the line of what control refuses", async () => {
    const errors = [
      { pointer: "environments.production.hostnames.0", detail: "taken by app blog", line: 6, column: 17 },
    ];
    const { code, stderr } = await run(["apply"], {
      "PUT /api/v1/apps/shop": (_asked, answer) =>
        answer.problem({ code: "hostname_taken", status: 409, errors }),
    });
    expect(code).toBe(2);
    expect(stderr).toContain(`sluice.yaml:6:17  taken by app blog
    6 |     hostnames: [shop.example.com]
      |                 ^`);
  });
});

describe.concurrent("dora", () => {
  test("says the four keys in one line each, and nothing where there is none", async () => {
    const spread = { medianMs: 11_520_000, p90Ms: 20_000_000, of: 40 };
    const some = { deployments: 42, perDay: 1.4, leadTime: spread, changes: 42, failures: 2 };
    const shop = { ...some, changeFailureRate: 2 / 42, timeToRestore: { ...spread, medianMs: 130_000 } };
    const none = { ...some, deployments: 0, perDay: 0, leadTime: null, changes: 0, failures: 0 };
    const items = [
      { app: "shop", environment: "production", ...shop },
      { app: "shop", environment: "staging", ...none, changeFailureRate: null, timeToRestore: null },
    ];
    const { stdout, asked } = await run(["dora", "-a", "shop", "--days", "90"], {
      "GET /api/v1/dora": (_asked, answer) => answer.json(200, { from: at(0), days: 90, items }),
    });
    expect(String(asked[0]?.query)).toBe("app=shop&days=90");
    expect(stdout).toBe(
      [
        "APP   ENVIRONMENT  DEPLOYMENTS  A DAY  LEAD TIME  FAILED           RESTORED IN",
        "shop  production   42           1.40   3 h 12 m   4.76% (2 of 42)  2 m 10 s",
        "shop  staging      0            0.00   -          -                -",
        "",
      ].join("\n"),
    );
  });
});

describe.concurrent("status", () => {
  test("is the result, so it is on stdout: what serves, what is on its way, what a rollback would do", async () => {
    const live = aServingRelease({ state: "live", servingAt: at(0) });
    const environment = anEnvironment(
      [
        ["v2", 100],
        ["v1", 0],
      ],
      {
        live,
        active: aRelease({ id: "rel_3", version: "v3", state: "starting" }),
        instances: [
          anInstance({
            release: "rel_3",
            version: "v3",
            state: "starting",
            ready: false,
            cause: "startup probe: 503",
          }),
        ],
      },
    );
    const { stdout, stderr } = await run(["status"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, environment),
    });
    expect(stderr).toBe("");
    expect(stdout).toContain("shop/production  shop.example.com");
    expect(stdout).toMatch(/ {2}v2 {2}100% {2}1\/1 ready {2}rel_2, since/);
    expect(stdout).toMatch(/ {2}v1 {2}0% /);
    expect(stdout).toMatch(/ {2}v3 {2}0% {4}0\/1 ready/);
    expect(stdout).toContain("✖ v3 on web-1 slot 3: startup probe: 503");
    expect(stdout).toMatch(/on its way +v3 starting/);
    expect(stdout).toMatch(/rollback +instant to v1/);
  });

  test("says why a release goes back, and who asked for the release rather than for that", async () => {
    const { failure } = aFailedRelease();
    const active = aRelease({ id: "rel_3", version: "v3", state: "rolling_back", failure });
    const { stdout } = await run(["status"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, anEnvironment([["v2", 100]], { active })),
    });
    expect(stdout).toMatch(/on its way +v3 rolling back: ins_1 never became ready \(released by \S+\)/);
  });

  test("says what became of the newest release where an older one serves", async () => {
    const lines = ["boom"];
    const failedRequest = { id: "8f2c1d3e4a5b6c7d", route: "GET /pay", host: "web-1", lines, note: null };
    const ended = { state: "rolled_back", endedAt: at(0) } as const;
    const environment = anEnvironment([["v2", 100]], {
      live: aServingRelease({ state: "live", servingAt: at(0) }),
      lastFailed: aFailedRelease({ id: "rel_3", version: "v3", ...ended, failedRequest }),
    });
    const { stdout } = await run(["status"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, environment),
    });
    expect(stdout).toMatch(/last failed +v3, rolled back .+ ago: ins_1 never became ready\n/);
    expect(stdout).toMatch(/request 8f2c1d3e4a5b6c7d failed: GET \/pay on web-1; .+:\n +\| boom/);
  });

  test("warns on stderr of a day's allowance that is about to end, and keeps still where it may not know", async () => {
    const warning = {
      id: "plan.requests",
      subject: "free plan",
      status: "warn",
      detail: "about 91,000",
      fix: "Paid",
    };
    const doctor = (checks: unknown[]): Parameters<typeof run>[1] => ({
      [`GET ${ENV}`]: (_asked, answer) => answer.json(200, anEnvironment()),
      "GET /api/v1/doctor": (_asked, answer) =>
        answer.json(200, { now: at(0), version: "dev", actor: "a", role: "admin", checks }),
    });
    const warned = await run(["status"], doctor([warning]));
    expect(warned.stderr).toContain("! about 91,000\n  mend: Paid");
    const refused = await run(["status"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, anEnvironment()),
    });
    expect([refused.code, refused.stderr]).toEqual([0, ""]);
  });

  test("--all is one line per environment", async () => {
    const app = { app: "shop", createdAt: at(0), environments: [anEnvironment()] };
    const { stdout } = await run(["status", "--all"], { "GET /api/v1/apps": page(app) });
    expect(stdout).toMatch(/^APP +ENVIRONMENT +SERVES/);
    expect(stdout).toMatch(/shop +production +v1 100%/);
  });
});

describe.concurrent("rollback", () => {
  const answered =
    (how: "instant" | "restart"): Route =>
    (_asked, answer) =>
      answer.json(202, {
        how,
        from: { release: "rel_2", version: "v2" },
        to: { release: "rel_1", version: "v1" },
        release: aRelease({ kind: "rollback" }),
      });

  test("instant: waits until the old version has all traffic, and asks nothing else", async () => {
    const { code, stdout, stderr } = await run(["rollback"], {
      [`POST ${ENV}/rollback`]: answered("instant"),
      [`GET ${ENV}`]: (_asked, answer, nth) =>
        answer.json(
          200,
          nth === 1
            ? anEnvironment([
                ["v2", 100],
                ["v1", 0],
              ])
            : anEnvironment([["v1", 100]]),
        ),
    });
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("v2 → v1 (instant)");
    expect(stderr).toContain("✔ v1 serves 100% of shop/production");
    expect(stderr).toContain("undo     sluice rollback -a shop -e production --to v2");
    expect(stdout).toBe("https://shop.example.com\n");
  });

  test("says what its sender saw serving, and claims nothing where nobody said", async () => {
    const detail = "you saw v3 serving, and now it is v2 100 %: look again (`sluice status`), then decide";
    const refused: Parameters<typeof run>[1] = {
      [`POST ${ENV}/rollback`]: (_asked, answer) =>
        answer.problem({ code: "precondition_failed", status: 412, detail }),
    };
    const ran = await run(["rollback", "--from", "v3"], refused);
    expect(JSON.parse(ran.asked[0]?.body ?? "")).toEqual({ from: "v3" });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain("now it is v2 100 %");
    const blind = await run(["rollback"], refused);
    expect(JSON.parse(blind.asked[0]?.body ?? "{}")).toEqual({});
  });

  test("restart: follows the new release of the old image", async () => {
    const ran = await run(["rollback", "--to", "v1"], {
      ...goodDeploy(),
      [`POST ${ENV}/rollback`]: answered("restart"),
    });
    expect(ran.code, ran.stderr).toBe(0);
    expect(JSON.parse(ran.asked[0]?.body ?? "")).toEqual({ to: "v1" });
    expect(ran.stderr).toContain("watch  sluice watch rel_2");
  });
});

describe.concurrent("abort and watch", () => {
  test("abort without an id stops the release on its way, and says where the traffic is", async () => {
    const { code, stderr, asked } = await run(
      ["abort", "--reason", "wrong branch"],
      failedDeploy(aFailedRelease({ state: "aborted", failure: null }), {
        [`GET ${ENV}`]: (_asked, answer) =>
          answer.json(200, anEnvironment([["v1", 100]], { active: aRelease() })),
        "POST /api/v1/releases/rel_2/abort": (_asked, answer) =>
          answer.json(202, aRelease({ state: "rolling_back" })),
      }),
    );
    expect(code, stderr).toBe(0);
    expect(asked.find((call) => call.method === "POST")?.body).toBe('{"reason":"wrong branch"}');
    expect(stderr).toContain("✔ v2 is stopped (aborted)");
    expect(stderr).toContain("traffic now  v1 serves 100%");
  });

  test("abort with nothing on its way says so and sends nothing", async () => {
    const { code, stderr, asked } = await run(["abort"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, anEnvironment()),
    });
    expect(code).toBe(2);
    expect(stderr).toContain("no release is on its way in shop/production");
    expect(asked).toHaveLength(1);
  });

  test("without an id mean the one release that waits, not the one that serves", async () => {
    const queued = [{ release: "rel_3", version: "v3" }];
    const { code, stderr, asked } = await run(["watch", "--timeout", "100ms"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, anEnvironment([["v1", 100]], { queued })),
      "GET /api/v1/releases/rel_3": (_a, answer) =>
        answer.json(200, aRelease({ id: "rel_3", version: "v3", state: "queued" })),
      "GET /api/v1/releases/rel_3/events": (_a, answer) => void answer.feed(),
    });
    expect(code, stderr).toBe(6);
    expect(asked.map(({ path }) => path)).toContain("/api/v1/releases/rel_3/events");
  });

  test("without an id name the releases that wait, where there are several", async () => {
    const queued = [
      { release: "rel_3", version: "v3" },
      { release: "rel_4", version: "v4" },
    ];
    const { code, stderr } = await run(["watch"], {
      [`GET ${ENV}`]: (_a, answer) => answer.json(200, anEnvironment([["v1", 100]], { queued })),
    });
    expect(code).toBe(2);
    expect(stderr).toContain("v3, v4 wait in shop/production");
    expect(stderr).toContain("sluice watch rel_4");
  });

  test("watch of a release that is over tells its end at once", async () => {
    const { code, asked } = await run(["watch", "rel_2"], {
      "GET /api/v1/releases/rel_2": (_asked, answer) => answer.json(200, aFailedRelease()),
      [`GET ${ENV}`]: (_asked, answer) => answer.json(200, anEnvironment()),
    });
    expect(code).toBe(3);
    expect(asked.map((call) => call.path)).not.toContain("/api/v1/releases/rel_2/events");
  });
});

describe.concurrent("releases, audit, plan and explain", () => {
  test("releases lists them, at most --limit", async () => {
    const { stdout, asked } = await run(["releases", "--limit", "1"], {
      [`GET ${ENV}/releases`]: page(aServingRelease()),
    });
    expect(asked[0]?.query.get("limit")).toBe("1");
    expect(stdout).toMatch(/v2 +settling +100% +deploy +token:ci/);
  });

  test("audit says who did what", async () => {
    const { stdout } = await run(["audit"], {
      "GET /api/v1/audit": page(anEvent({ actor: "token:ci", message: "v2 asked for" })),
    });
    expect(stdout).toMatch(/token:ci +shop\/production +v2 asked for/);
  });

  test("plan shows where, what traffic and which rollback", async () => {
    const { stdout } = await run(["plan"], {
      [`POST ${ENV}/releases`]: (_a, answer) => answer.json(200, aRelease().plan),
    });
    expect(stdout).toContain("web-1 (slot 3)");
    expect(stdout).toContain("0% → 100%");
    expect(stdout).toContain("instant while v1 is kept warm");
  });

  test("explain needs no control plane and knows codes and exit codes", async () => {
    const code = await callCli(["explain", "no_slots"]);
    const exit = await callCli(["explain", "4", "--json"]);
    const unknown = await callCli(["explain", "nonsense"]);
    expect(code.stdout).toContain("no_slots (exit code 2)");
    expect(JSON.parse(exit.stdout)).toMatchObject({ schema: 1, exitCode: 4 });
    expect(unknown.code).toBe(1);
  });

  test.each([
    [["-a", "deploy", "status", "--bogus"], "sluice status -h"],
    [["preview", "up", "7"], "sluice preview up -h"],
    [["bogus"], "sluice -h"],
  ])("%j, which can't be read, names the help of that very command", async (args, help) => {
    const { code, stdout } = await callCli([...args, "--json"]);
    expect({ code, next: JSON.parse(stdout).next }).toEqual({
      code: 1,
      next: [{ command: help, when: "to see what there is" }],
    });
  });
});
