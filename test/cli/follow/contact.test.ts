import { describe, expect, test } from "vitest";
import { aServingRelease, fakeApi, GOOD_EVENTS, MANIFEST, type Route } from "../../support/cli/fake-api.ts";
import { beginCall, callCli, startCli } from "../../support/cli/run-cli.ts";
import { endsAs, goodDeploy } from "../scenarios.ts";

const files = { "sluice.yaml": MANIFEST };
const EVENTS = "GET /api/v1/releases/rel_2/events";

describe.concurrent("a deploy whose contact breaks", () => {
  test("goes on from the last event after the connection is lost, and repeats no line", async () => {
    let cut = () => {};
    const feed: Route = (_asked, answer, nth) => {
      const stream = answer.feed();
      const [from, to] = nth === 1 ? [0, 3] : [2, 7];
      for (const event of GOOD_EVENTS.slice(from, to)) stream.event(event);
      if (nth > 1) return stream.end();
      cut = stream.drop;
    };
    await using api = await fakeApi(
      goodDeploy({
        [EVENTS]: feed,
        "GET /api/v1/releases/rel_2": (asked, answer, nth) =>
          endsAs(aServingRelease())(asked, answer, nth <= 2 ? 1 : nth),
      }),
    );
    const { done, said } = await beginCall(["deploy"], { url: api.url, files });
    await said("web-1 slot 3: starting");
    cut();
    const ran = await done;
    expect(ran.code, ran.stderr).toBe(0);
    expect(api.asked.filter((call) => `GET ${call.path}` === EVENTS)[1]?.headers["last-event-id"]).toBe("3");
    expect(ran.stderr.match(/web-1 slot 3: starting/g)).toHaveLength(1);
    expect(ran.stderr).toContain("no contact: lost the event feed");
    expect(ran.stderr).toContain("back in contact");
  });

  test("a control that is silent is said to be, once, and its answer is waited for", async () => {
    let answered = () => {};
    const isSaid = new Promise<void>((resolve) => {
      answered = resolve;
    });
    await using api = await fakeApi({
      "GET /api/v1/apps": async (_asked, answer) => {
        await isSaid;
        answer.json(200, { items: [], nextCursor: null });
      },
    });
    const { done, said } = await beginCall(["status", "--all"], { url: api.url, files });
    const words = `no answer from ${api.url} for 5 s: waiting on, half a minute in all`;
    await said(words);
    answered();
    const { code, stderr } = await done;
    expect([code, stderr.split(words).length], stderr).toEqual([0, 2]);
  });

  test("Ctrl-C detaches: exit 130, the watch line, and the release is not aborted", async () => {
    await using api = await fakeApi(goodDeploy({ [EVENTS]: (_asked, answer) => void answer.feed() }));
    const { child, done, said } = await startCli(["deploy", "--json"], { url: api.url, files });
    await said("watch  sluice watch rel_2");
    await api.until(EVENTS);
    child.kill("SIGINT");
    const ran = await done;
    expect(ran.code).toBe(130);
    expect(ran.stderr).toContain("detached. v2 goes on without this command.\n  watch  sluice watch rel_2");
    expect(JSON.parse(ran.stdout)).toMatchObject({
      outcome: "detached",
      exitCode: 130,
      release: { id: "rel_2" },
    });
    expect(api.asked.map((call) => call.path)).not.toContain("/api/v1/releases/rel_2/abort");
  });

  test("Ctrl-C before control has answered ends at once with 130", async () => {
    await using api = await fakeApi({ "PUT /api/v1/apps/shop": () => {} });
    const { interrupt, done } = await beginCall(["deploy"], { url: api.url, files });
    await api.until("PUT /api/v1/apps/shop");
    interrupt();
    expect(await done).toMatchObject({ code: 130, stdout: "" });
  });

  test("Ctrl-C while the release is being asked for says that it may have begun", async () => {
    const create = "POST /api/v1/apps/shop/envs/production/releases";
    await using api = await fakeApi(goodDeploy({ [create]: () => {} }));
    const { interrupt, done } = await beginCall(["deploy", "--json"], { url: api.url, files });
    await api.until(create);
    interrupt();
    const { code, stderr, stdout } = await done;
    expect(code).toBe(130);
    expect(stderr).toContain("the release may have begun");
    expect(JSON.parse(stdout).next[0].command).toBe("sluice watch -a shop -e production");
  });

  test.each([
    ["can't be written", "/nowhere/at/all", 1],
    ["is full", "/dev/full", 0],
  ])(
    "a SLUICE_OUTPUT_FILE that %s is said, and never taken for the release's end",
    async (_how, file, code) => {
      await using api = await fakeApi(goodDeploy());
      const ran = await callCli(["deploy"], { url: api.url, files, env: { SLUICE_OUTPUT_FILE: file } });
      expect(ran.code, ran.stderr).toBe(code);
      expect(ran.stderr.match(/SLUICE_OUTPUT_FILE/g)).toHaveLength(1);
      expect(ran.stderr).not.toContain("a bug in sluice");
      if (code === 1) expect(api.asked).toEqual([]);
    },
  );

  test("--timeout ends the waiting, not the release", async () => {
    await using api = await fakeApi(goodDeploy({ [EVENTS]: (_asked, answer) => void answer.feed() }));
    const ran = await callCli(["deploy", "--timeout", "200ms"], { url: api.url, files });
    expect(ran).toMatchObject({ code: 6, stdout: "" });
    expect(ran.stderr).toContain("stopped waiting after 200 ms. v2 goes on without this command.");
  });

  test("a POST whose answer was lost is sent again with the same key", async () => {
    const create: Route = (asked, answer, nth) =>
      nth === 1 ? answer.drop() : goodDeploy()[`POST ${asked.path}`]?.(asked, answer, nth);
    await using api = await fakeApi(
      goodDeploy({ "POST /api/v1/apps/shop/envs/production/releases": create }),
    );
    const ran = await callCli(["deploy"], { url: api.url, files });
    expect(ran.code, ran.stderr).toBe(0);
    const keys = api.asked
      .filter((call) => call.method === "POST")
      .map((call) => call.headers["idempotency-key"]);
    expect(keys).toHaveLength(2);
    expect(keys[0]).toBe(keys[1]);
  });
});
