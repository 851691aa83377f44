import { describe, expect, test } from "vitest";
import { at, fakeApi } from "../../support/cli/fake-api.ts";
import { startCli } from "../../support/cli/run-cli.ts";
import { page, run } from "../calls.ts";

const anEvent = (id: number, message: string, more: object = {}) => ({
  id,
  at: at(id * 1_000),
  type: "release.state",
  actor: "alex",
  app: "shop",
  environment: "production",
  release: "rel_1",
  message,
  data: {},
  ...more,
});

describe.concurrent("top", () => {
  const good = { requests: 600, perSecond: 10, errors: 0, errorRate: 0, p50Ms: 12, p95Ms: 80 };
  const none = { requests: 0, perSecond: 0, errors: 0, errorRate: null, p50Ms: null, p95Ms: null };
  const view = {
    from: at(0),
    to: at(60_000),
    releases: [
      { release: "rel_2", version: "v2", weight: 25, ...none },
      { release: "rel_1", version: "v1", weight: 75, ...good, errors: 6, errorRate: 0.01 },
    ],
    instances: [{ instance: "ins_1", release: "rel_1", version: "v1", host: "web-1", slot: 0, ...good }],
  };
  const routes = {
    "GET /api/v1/apps/shop/envs/production/visits": (
      _: unknown,
      answer: { json(s: number, b: unknown): void },
    ) => answer.json(200, view),
  };

  test("says the last minute once where it can't be drawn anew, and nothing where nobody came", async () => {
    const { stdout } = await run(["top", "-a", "shop"], routes);
    expect(stdout).toMatch(/v2 +25% +- +- +- +-/);
    expect(stdout).toMatch(/v1 +75% +10 +6 \(1%\) +12 ms +80 ms/);
    expect(stdout).toMatch(/v1 on web-1 slot 0 +10 +0 +12 ms +80 ms/);
  });

  test("gives the figures as they are with --json", async () => {
    expect(JSON.parse((await run(["top", "-a", "shop", "--json"], routes)).stdout)).toMatchObject(view);
  });
});

describe.concurrent("events", () => {
  test("shows the last ones, oldest first, of what was named only", async () => {
    const other = anEvent(4, "other is live", { app: "other" });
    const { stdout } = await run(["events", "-a", "shop"], {
      "GET /api/v1/audit": page(other, anEvent(3, "v1 is live"), anEvent(2, "v1 is ready")),
    });
    expect(stdout.split("\n").map((line) => line.slice("2026-11-23 12:00:00 UTC  ".length))).toEqual([
      "shop/production  v1 is ready  alex",
      "shop/production  v1 is live  alex",
      "",
    ]);
  });

  test("follows: each new one once, over a control that fails meanwhile, until Ctrl-C", async () => {
    const items = [anEvent(1, "v1 is queued")];
    await using api = await fakeApi({
      "GET /api/v1/audit": (_asked, answer, nth) => {
        if (nth === 2) return answer.json(503, { code: "unavailable", detail: "restarting" });
        if (nth === 3) items.unshift(anEvent(2, "v1 is live"));
        answer.json(200, { items, nextCursor: null });
      },
    });
    const cli = await startCli(["events", "--follow", "--json=stream"], { url: api.url });
    await new Promise<void>((resolve) =>
      cli.child.stdout?.on("data", (chunk) => String(chunk).includes("v1 is live") && resolve()),
    );
    cli.child.kill("SIGINT");
    const { stdout } = await cli.done;
    const lines = stdout.split("\n").filter((line) => line.includes('"message"'));
    expect(lines.map((line) => JSON.parse(line).message)).toEqual(["v1 is queued", "v1 is live"]);
  });

  test("refuses one JSON object without an end", async () => {
    const { code, stderr } = await run(["events", "--follow", "--json"], {});
    expect([code, stderr]).toEqual([1, expect.stringContaining("--json=stream")]);
  });
});
