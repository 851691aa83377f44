import { describe, expect, test } from "vitest";
import { fakeApi, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { ENV } from "../scenarios.ts";

const ending = (waitsFor: string[]) => ({
  app: "shop",
  environment: "production",
  by: "admin",
  since: "2026-11-23T17:13:13.432Z",
  waitsFor,
  keeps: ["uploads on web-1"],
  next: [],
});

async function run(args: string[], routes: Record<string, Route> = {}) {
  await using api = await fakeApi(routes);
  const ran = await callCli(["destroy", "-a", "shop", "-e", "production", ...args], { url: api.url });
  return { ...ran, asked: api.asked };
}

describe("sluice destroy", () => {
  test("without a terminal asks nothing of control until the name is given, and says the whole flag", async () => {
    const ran = await run([]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain("add --yes shop/production to mean it");
    expect(ran.asked).toEqual([]);
  });

  test("refuses another name than what would go", async () => {
    const ran = await run(["--yes", "shop/staging"]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain("it is shop/production");
    expect(ran.asked).toEqual([]);
  });

  test("leaves what takes longer than its timeout to itself, saying what it waits for", async () => {
    const ran = await run(["--yes", "shop/production", "--timeout", "1ms"], {
      [`DELETE ${ENV}`]: (_asked, answer) => answer.json(202, ending(["2 instances on web-1"])),
    });
    expect(ran.code, ran.stderr).toBe(6);
    expect(ran.stderr).toContain("not gone yet; it waits for 2 instances on web-1");
  });

  test("that loses control says that it goes on by itself, and how to look", async () => {
    const ran = await run(["--yes", "shop/production"], {
      [`DELETE ${ENV}`]: (_asked, answer, nth) =>
        nth === 1 ? answer.json(202, ending(["2 instances"])) : answer.drop(),
    });
    expect(ran.code, ran.stderr).toBe(6);
    expect(ran.stderr).toMatch(
      /shop\/production was on its way out when contact was lost \(.+\); it goes on by itself/,
    );
    expect(ran.stderr).toContain("look  sluice destroy -a shop -e production --yes shop/production");
  });

  test("says what it waits for and what stays, until it is gone", async () => {
    const ran = await run(["--yes", "shop/production"], {
      [`DELETE ${ENV}`]: (_asked, answer, nth) =>
        nth === 1
          ? answer.json(202, ending(["2 instances"]))
          : answer.problem({ code: "not_found", status: 404 }),
    });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stderr).toContain("it waits for 2 instances");
    expect(ran.stderr).toContain("stays: the volume uploads on web-1");
    expect(ran.stderr).toContain("shop/production is gone");
    expect(ran.asked.map(({ method }) => method)).toEqual(["DELETE", "DELETE"]);
  });
});
