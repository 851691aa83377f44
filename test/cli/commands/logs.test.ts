import { describe, expect, test } from "vitest";
import { fakeApi, MANIFEST, type Route } from "../../support/cli/fake-api.ts";
import { LOGS, logFeed, logLine } from "../../support/cli/log-feed.ts";
import { callCli, startCli } from "../../support/cli/run-cli.ts";
import { TIMED } from "../../support/patience.ts";

const files = { "sluice.yaml": MANIFEST };
const run = async (args: readonly string[], route: Route) => {
  await using api = await fakeApi({ [LOGS]: route });
  return { ...(await callCli(["logs", ...args], { url: api.url, files })), asked: api.asked };
};
const fed =
  (tell: (feed: ReturnType<typeof logFeed>) => void): Route =>
  (_asked, answer) =>
    tell(logFeed(answer.feed()));

describe.concurrent("logs", () => {
  test("prints each line behind its host, version and instance, and nothing else, on stdout", async () => {
    const { code, stdout, stderr } = await run(
      [],
      fed((feed) => {
        feed.host("joined", "web-1 sends its lines");
        feed.lines(
          "1//a=1",
          "listening",
          logLine("\u001b[31mno database", { host: "web-2", instance: "rel_2-12" }),
        );
        feed.host("ended", "web-1 has sent all it has");
        feed.end();
      }),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe("web-1 v2 #1 | listening\nweb-2 v2 #12 | \u001b[31mno database\n");
  });

  test("names the app as an argument, and an accessory by its name", async () => {
    const { stdout, asked } = await run(
      ["shop", "-e", "production", "--accessory", "postgres", "--since", "10m", "-n", "5"],
      fed((feed) => {
        feed.lines("1//a=1", logLine("ready", { instance: "shop-production-postgres", version: "" }));
        feed.end();
      }),
    );
    expect(stdout).toBe("web-1 postgres | ready\n");
    expect(Object.fromEntries(asked[0]?.query ?? [])).toEqual({
      accessory: "postgres",
      since: "10m",
      tail: "5",
    });
  });

  test("says which host is offline and what is missing, and ends with 0 with what there is", async () => {
    const { code, stdout, stderr } = await run(
      [],
      fed((feed) => {
        feed.host("offline", "web-2 is offline since noon: its lines are missing");
        feed.lines("1//a=1", "one");
        feed.gap(10);
        feed.end({ hosts: ["web-1", "web-2"] });
      }),
    );
    expect(code).toBe(0);
    expect(stdout).toBe("web-1 v2 #1 | one\n");
    expect(stderr).toBe(
      "web-2 is offline since noon: its lines are missing\n10 bytes of the log on web-1 were rotated away\n",
    );
  });

  test("ends with 6 when no host answered, and with 0 when none has an instance", async () => {
    const silent = await run(
      [],
      fed((feed) => feed.end({ answered: [] })),
    );
    expect(silent.code).toBe(6);
    expect(silent.stderr).toContain("no host answered, so there are no lines to be had: asked were web-1");
    expect(silent.stderr).toContain("sluice hosts");
    const empty = await run(
      [],
      fed((feed) =>
        feed.end({ hosts: [], answered: [], message: "no instance of shop/production is there" }),
      ),
    );
    expect(empty).toMatchObject({ code: 0, stdout: "", stderr: "no instance of shop/production is there\n" });
  });

  test("--json=stream is a line of JSON for each, --json one object at the end", async () => {
    const route = fed((feed) => {
      feed.lines("1//a=1", "one", "two");
      feed.gap(10);
      feed.end();
    });
    const stream = await run(["--json=stream"], route);
    const objects = stream.stdout
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text));
    expect(objects).toMatchObject([
      { schema: 1, type: "line", host: "web-1", text: "one" },
      { type: "line", text: "two" },
      { type: "gap", bytes: 10 },
      { command: "logs", exitCode: 0, hosts: ["web-1"], answered: ["web-1"] },
    ]);
    const object = await run(["--json"], route);
    expect(JSON.parse(object.stdout)).toMatchObject({
      lines: [{ text: "one" }, { text: "two" }],
      truncated: false,
    });
    expect((await run(["--json", "--follow"], route)).code).toBe(1);
  });

  test.each([
    ["--since", "yesterday"],
    ["--tail", "-1"],
    ["--tail", "many"],
  ])("refuses %s %s before it asks", async (...args) => {
    const { code, asked } = await run(
      args,
      fed((feed) => feed.end()),
    );
    expect({ code, asked: asked.length }).toEqual({ code: 1, asked: 0 });
  });

  test("that follows says once that contact is lost, and when it is back", TIMED, async () => {
    const { code, stdout, stderr } = await run(["--follow"], (_asked, answer, nth) => {
      if (nth === 2 || nth === 3) return answer.drop();
      const feed = logFeed(answer.feed());
      feed.lines(`1//a=${nth}`, `line ${nth}`);
      if (nth === 1) setTimeout(() => feed.drop(), 50);
      else feed.end();
    });
    expect(code).toBe(0);
    expect(stdout).toBe("web-1 v2 #1 | line 1\nweb-1 v2 #1 | line 4\n");
    expect(stderr).toMatch(
      /^lost the event feed of .*; trying again, no line is missed.*\nback in contact\n$/,
    );
  });

  test("ends with 130 on Ctrl-C, and quietly when nobody reads its stdout any more", async () => {
    let nth = 0;
    await using api = await fakeApi({
      [LOGS]: (_asked, answer) => {
        const feed = logFeed(answer.feed());
        const timer = setInterval(() => feed.lines(`1//a=${++nth}`, `line ${nth}`), 20);
        void answer.gone.then(() => clearInterval(timer));
      },
    });
    const interrupted = await startCli(["logs", "--follow"], { url: api.url, files });
    interrupted.child.stdout?.once("data", () => interrupted.child.kill("SIGINT"));
    const ran = await interrupted.done;
    expect(ran).toMatchObject({ code: 130, stderr: "interrupted\n" });
    expect(ran.stdout).toContain("web-1 v2 #1 | line 1\n");
    const piped = await startCli(["logs", "--follow"], { url: api.url, files });
    piped.child.stdout?.once("data", () => piped.child.stdout?.destroy());
    expect(await piped.done).toMatchObject({ code: 0, stderr: "" });
  });
});
