import { describe, expect, test } from "vitest";
import { aFailedRelease, anEnvironment, at, fakeApi } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { files, run, says, sent } from "../calls.ts";
import { aCanary, ENV, PAUSED, VERDICT } from "../scenarios.ts";

describe.concurrent("verdicts", () => {
  const item = {
    at: at(10_000),
    window: at(0),
    verdict: "continue",
    reason: "low-traffic",
    words: "not enough data yet: errors 0 % against 0.2 % on stable",
    numbers: { limits: { minRequests: 30 } },
  };
  const route = { "GET /api/v1/releases/rel_2/verdicts": says({ items: [item], nextCursor: null }) };

  test("are a table for people, and every number for a script", async () => {
    const table = await run(["verdicts", "rel_2"], route);
    expect(table.stdout).toBe(
      "TIME                     VERDICT   WHY\n2026-11-23 12:00:10 UTC  continue  not enough data yet: errors 0 % against 0.2 % on stable\n",
    );
    const json = await run(["verdicts", "rel_2", "--json"], route);
    expect(JSON.parse(json.stdout)).toMatchObject({ release: "rel_2", items: [item] });
  });

  test("are those of a release that was just undone, where none is named", async () => {
    const environment = anEnvironment([["v1", 100]], { lastFailed: aFailedRelease({ id: "rel_2" }) });
    const { stdout } = await run(["verdicts"], { ...route, [`GET ${ENV}`]: says(environment) });
    expect(stdout).toContain("not enough data yet");
  });

  test("are judged again by other limits", async () => {
    const said = { verdict: "pass", words: "errors 0.2 %: no worse than stable" };
    const answer = {
      ...{ release: "rel_2", version: "v2", kept: 12, windows: 3, provenAfter: null },
      ...{ was: said, now: { verdict: "rollback", words: "errors 2 %, over the limit of 1 %" } },
    };
    const route = { "GET /api/v1/releases/rel_2/replay": says(answer) };
    const asked = ["verdicts", "rel_2", "--replay", "--error-rate-max", "1%", "--p95-max", "500ms"];
    const { stdout } = await run(asked, route);
    expect(stdout).toBe(
      "v2, judged again: would be rolled back after 30 s\n  was:  pass, errors 0.2 %: no worse than stable\n  now:  rollback, errors 2 %, over the limit of 1 %\n",
    );
    expect((await run(["verdicts", "--replay", "--error-rate-max", "lots"], route)).code).toBe(1);
  });

  test("of no release named, with none that serves or is on its way: nothing was judged", async () => {
    const { code, stderr } = await run(["verdicts"], { [`GET ${ENV}`]: says(anEnvironment([])) });
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/^error: nothing was judged: no release is on its way in shop\/production$/m),
    ]);
  });

  test("say that there are none", async () => {
    const { stdout } = await run(["verdicts", "rel_2"], {
      "GET /api/v1/releases/rel_2/verdicts": says({ items: [], nextCursor: null }),
    });
    expect(stdout).toContain("rel_2 was never judged");
  });
});

describe.concurrent("preview", () => {
  const pass = {
    release: "rel_2",
    url: "https://shop.example.com/",
    header: { name: "X-Sluice-Preview", value: "rel_2.1.x" },
    cookie: "__Host-sluice_preview=rel_2.1.x",
    expiresAt: at(3_600_000),
  };

  test("is the header alone on stdout, so that curl can take it", async () => {
    const ran = await run(["preview", "rel_2", "--expires", "10m"], {
      "POST /api/v1/releases/rel_2/preview": says(pass, 201),
    });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stdout).toBe("X-Sluice-Preview: rel_2.1.x\n");
    expect(ran.stderr).toContain("curl -H 'X-Sluice-Preview: rel_2.1.x' https://shop.example.com/");
    expect(sent(ran.asked, "POST")[0]?.body).toEqual({ expiresInMinutes: 10 });
  });

  test("leads to the local edge where control is local", async () => {
    await using api = await fakeApi({ "POST /api/v1/releases/rel_2/preview": says(pass, 201) });
    const config = JSON.stringify({ url: api.url, token: "slu_x", edge: "http://127.0.0.1:18080" });
    const own = { files: { ...files, ".sluice/cli.json": config } };
    const byFile = await callCli(["preview", "rel_2"], own);
    expect(byFile.stderr).toContain("http://shop.example.com:18080/");
    const byVariable = await callCli(["preview", "rel_2"], { ...own, url: api.url });
    expect(byVariable.stderr).toContain("http://shop.example.com:18080/");
  });
});

describe.concurrent("lock and maintenance", () => {
  const lock = { holder: "token:ci", reason: "audit week", fence: 1, since: at(0), expiresAt: at(7_200_000) };

  test("lock says until when, and how to end it", async () => {
    const ran = await run(["lock", "--reason", "audit week", "--for", "2h"], {
      [`PUT ${ENV}/lock`]: says(anEnvironment(undefined, { lock })),
    });
    expect(ran.code, ran.stderr).toBe(0);
    expect(sent(ran.asked, "PUT")[0]?.body).toEqual({ reason: "audit week", expiresInMinutes: 120 });
    expect(ran.stderr).toMatch(
      /^shop\/production is locked, ends .+: audit week\n {2}undo {2}sluice unlock -a shop/,
    );
  });

  test("lock needs a reason, and no more than a week", async () => {
    expect((await run(["lock"], {})).code).toBe(1);
    const long = await run(["lock", "--reason", "x", "--for", "30d"], {});
    expect(long.code).toBe(1);
    expect(long.asked).toEqual([]);
  });

  test("a lock of somebody else is refused with 2, naming the holder", async () => {
    const { code, stderr } = await run(["lock", "--reason", "x"], {
      [`PUT ${ENV}/lock`]: (_asked, answer) =>
        answer.problem({ code: "locked", status: 423, detail: "locked by token:anna: audit week" }),
    });
    expect(code).toBe(2);
    expect(stderr).toContain("locked by token:anna");
  });

  test("unlock names whose lock it was", async () => {
    const ran = await run(["unlock"], {
      [`GET ${ENV}`]: says(anEnvironment(undefined, { lock })),
      [`DELETE ${ENV}/lock`]: says(anEnvironment()),
    });
    expect(ran.stderr).toBe("shop/production is unlocked (was token:ci: audit week)\n");
  });

  test.each([
    [
      ["on", "--message", "Back at nine", "--retry-after", "30m"],
      "PUT",
      { mode: "maintenance", message: "Back at nine", retryAfterS: 1_800 },
    ],
    [["on", "--pause"], "PUT", { mode: "pause" }],
    [["off"], "DELETE", undefined],
  ])("maintenance %j", async (args, method, body) => {
    const mode = method === "DELETE" ? "open" : "maintenance";
    const ran = await run(["maintenance", ...args], {
      [`${method} ${ENV}/maintenance`]: says(anEnvironment(undefined, { mode })),
    });
    expect(ran.code, ran.stderr).toBe(0);
    expect(sent(ran.asked, method)).toEqual([{ path: `${ENV}/maintenance`, body }]);
  });

  test("status shouts that visitors are not let in, and says what a canary waits for", async () => {
    const active = aCanary({ paused: PAUSED, verdict: VERDICT });
    const { stdout } = await run(["status"], {
      [`GET ${ENV}`]: says(anEnvironment(undefined, { mode: "maintenance", active })),
    });
    expect(stdout).toContain("NOT LET IN: maintenance, 503");
    expect(stdout).toMatch(/on its way +v2 shifting \(step 2 of 3: until it is promoted\)/);
    expect(stdout).toMatch(/paused +by sluice .+: waits to be promoted/);
    expect(stdout).toMatch(/judge +errors 0\.1 %/);
  });
});
