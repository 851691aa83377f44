import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  aFailedRelease,
  anEnvironment,
  aRelease,
  aServingRelease,
  fakeApi,
  MANIFEST,
} from "../../support/cli/fake-api.ts";
import { callCli, runCli } from "../../support/cli/run-cli.ts";
import { ENV, failedDeploy, goodDeploy, unchanged } from "../scenarios.ts";

const files = { "sluice.yaml": MANIFEST };
const lines = (text: string) => text.trimEnd().split("\n");

describe.concurrent("deploy without a terminal", () => {
  test("holds the release in the trace that the CI job is part of", async () => {
    await using api = await fakeApi(goodDeploy());
    const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await callCli(["deploy"], { url: api.url, files, env: { TRACEPARENT, TRACESTATE: "ci=1" } });
    const made = api.asked.find(({ method, path }) => method === "POST" && path === `${ENV}/releases`);
    expect(made?.headers).toMatchObject({ traceparent: TRACEPARENT, tracestate: "ci=1" });
  });

  test("appends one line per state change, then what serves, how long it took, what failed and the undo", async () => {
    await using api = await fakeApi(goodDeploy());
    const ran = await callCli(["deploy", "--image", "ghcr.io/acme/shop:2"], { url: api.url, files });
    expect(ran.stderr).toBe(`shop/production v2  ghcr.io/acme/shop:2
watch  sluice watch rel_2
   0.0s  preparing   pulling the image on 1 host
   0.9s  starting    starting 1 instance
   0.9s              web-1 slot 3: starting
   5.1s              web-1 slot 3: ready
   5.2s  verifying   asking ins_1 through its tunnel
   6.0s  shifting    0% → 100%
  12.4s  settling    v2 serves all traffic
✔ v2 serves 100% of shop/production (was v1)
  took      12.4 s
  requests  0 failed of 18,204 requests
  traffic   v2 serves 100% (1 of 1 instance ready)
  url       https://shop.example.com
  undo      sluice rollback -a shop -e production   instant, to v1
`);
    expect(ran.stdout).toBe("https://shop.example.com\n");
  });

  test("releases the very image that serves with --current, and one image at a time", async () => {
    const digest = `sha256:${"ab".repeat(32)}`;
    const live = { ...aServingRelease(), image: "ghcr.io/acme/shop:2", digest };
    const bodies: unknown[] = [];
    await using api = await fakeApi(
      goodDeploy({
        [`GET ${ENV}`]: (_asked, answer) => answer.json(200, { ...anEnvironment([["v2", 100]]), live }),
        [`POST ${ENV}/releases`]: (asked, answer) => {
          bodies.push(JSON.parse(asked.body));
          answer.json(202, aRelease(), { location: "/api/v1/releases/rel_2" });
        },
      }),
    );
    expect((await callCli(["deploy", "--current", "--detach"], { url: api.url, files })).code).toBe(0);
    // Queued behind another release, it would take that one's image back.
    expect(bodies).toMatchObject([{ image: `ghcr.io/acme/shop@${digest}`, whenBusy: "reject" }]);
    const both = await callCli(["deploy", "--current", "--image", ":3"], { url: api.url, files });
    expect(both).toMatchObject({ code: 1, stderr: expect.stringContaining("one image at a time") });
  });

  test.each([
    ["is on its way", { active: aRelease({ version: "v3", state: "shifting" }) }],
    ["waits", { queued: [{ release: "rel_3", version: "v3" }] }],
  ])("refuses --current while another release %s: what serves after it is not known", async (_what, busy) => {
    const live = { ...aServingRelease(), image: "ghcr.io/acme/shop:2", digest: null };
    await using api = await fakeApi(
      goodDeploy({
        [`GET ${ENV}`]: (_asked, answer) =>
          answer.json(200, { ...anEnvironment([["v2", 100]]), live, ...busy }),
      }),
    );
    const ran = await callCli(["deploy", "--current", "--detach"], { url: api.url, files });
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringMatching(/v3 .*what serves after it/) });
    expect(ran.stderr).toContain("deploy --current");
    expect(api.asked.some(({ method, path }) => method === "POST" && path === `${ENV}/releases`)).toBe(false);
    const instead = await callCli(["deploy", "--current", "--detach", "--when-busy", "supersede"], {
      ...{ url: api.url, files },
    });
    expect(instead.code).toBe(0);
  });

  test("says which check failed, where the traffic is now, the app's last lines and the next command", async () => {
    await using api = await fakeApi(failedDeploy());
    const ran = await callCli(["deploy"], { url: api.url, files });
    expect(ran.stdout).toBe("");
    expect(ran.stderr).toContain(`✖ v2 failed after 61 s: ins_1 never became ready
  check        startup probe GET /ready
  value        503
  limit        2xx within 60s
  at           web-1, ins_1
  requests     0 failed of 812 requests
  traffic now  v1 serves 100% (1 of 1 instance ready)
  the app's last lines:
    | listening on 3000
    | Error: connect ECONNREFUSED 127.0.0.1:5432
  next:
    sluice deploy -a shop -e production --image <ref>  the cause is mended
`);
  });

  test("shouts when the traffic is not back", async () => {
    const routes = failedDeploy(aFailedRelease(), {
      [`GET ${ENV}`]: (_asked, answer) =>
        answer.json(
          200,
          anEnvironment([
            ["v2", 40],
            ["v1", 60],
          ]),
        ),
    });
    await using api = await fakeApi(routes);
    const ran = await callCli(["deploy"], { url: api.url, files });
    expect(ran.stderr).toContain("traffic now  NOT RESTORED: v2 serves 40%");
  });

  test("an app's log line can't steer the terminal or command the CI runner", async () => {
    const release = aFailedRelease();
    const logs = ["\u001b[2J\u001b]0;owned\u0007gone", "::set-output name=x::y"];
    const failure = release.failure && { ...release.failure, logs };
    await using api = await fakeApi(failedDeploy({ ...release, failure }));
    const { stderr } = await callCli(["deploy"], { url: api.url, files });
    expect(stderr).not.toContain("\u001b");
    expect(lines(stderr).filter((line) => line.trimStart().startsWith("::"))).toEqual([]);
  });
});

describe.concurrent("deploy as machines read it", () => {
  test("--json gives exactly one object on stdout", async () => {
    await using api = await fakeApi(goodDeploy());
    const { stdout } = await runCli(["deploy", "--json"], { url: api.url, files });
    expect(lines(stdout)).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 1,
      command: "deploy",
      outcome: "live",
      exitCode: 0,
      url: "https://shop.example.com",
      release: { id: "rel_2", state: "settling" },
      traffic: [
        { version: "v2", weight: 100 },
        { version: "v1", weight: 0 },
      ],
      undo: "sluice rollback -a shop -e production",
    });
  });

  test("--json gives one object for a failed release, too", async () => {
    await using api = await fakeApi(failedDeploy());
    const { stdout, code } = await callCli(["deploy", "--json"], { url: api.url, files });
    expect(lines(stdout)).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 1, outcome: "failed", exitCode: code });
  });

  test("--json gives the problem object when it was refused", async () => {
    const routes = goodDeploy({
      [`POST ${ENV}/releases`]: (_asked, answer) =>
        answer.problem({
          code: "no_slots",
          status: 409,
          detail: "web-1 has 0 free slots, 1 is needed",
          next: [{ command: "sluice hosts", when: "to see the slots" }],
          requestId: "req_9",
        }),
    });
    await using api = await fakeApi(routes);
    const { stdout } = await callCli(["deploy", "--json"], { url: api.url, files });
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 1,
      code: "no_slots",
      status: 409,
      exitCode: 2,
      next: [{ command: `sluice hosts`, when: "to see the slots" }],
      requestId: "req_9",
    });
  });

  test("--json=stream gives the events as NDJSON, then the object", async () => {
    await using api = await fakeApi(goodDeploy());
    const { stdout } = await callCli(["deploy", "--json=stream"], { url: api.url, files });
    const objects = lines(stdout).map((line) => JSON.parse(line));
    expect(objects).toHaveLength(8);
    expect(objects.every((object) => object.schema === 1)).toBe(true);
    expect(objects[0]).toMatchObject({ id: 1, type: "release.state", data: { state: "preparing" } });
    expect(objects.at(-1)).toMatchObject({ command: "deploy", outcome: "live" });
  });

  test("SLUICE_OUTPUT_FILE gets events and result beside the human text", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sluice-out-"));
    const SLUICE_OUTPUT_FILE = join(folder, "out.ndjson");
    await using api = await fakeApi(goodDeploy());
    const { stdout } = await callCli(["deploy"], { url: api.url, files, env: { SLUICE_OUTPUT_FILE } });
    const written = lines(await readFile(SLUICE_OUTPUT_FILE, "utf8")).map((line) => JSON.parse(line));
    await rm(folder, { recursive: true });
    expect(stdout).toBe("https://shop.example.com\n");
    expect(written).toHaveLength(8);
    expect(written.at(-1)).toMatchObject({ schema: 1, command: "deploy", outcome: "live" });
  });
});

describe.concurrent("what deploy asks of control", () => {
  const ci = {
    GITHUB_RUN_ID: "77",
    GITHUB_RUN_ATTEMPT: "1",
    GITHUB_JOB: "ship",
    GITHUB_REPOSITORY: "acme/shop",
  };
  const keyOf = async (args: readonly string[], env: Record<string, string>) => {
    await using api = await fakeApi(goodDeploy());
    await callCli(["deploy", "--detach", ...args], { url: api.url, files, env });
    return api.asked.find((call) => call.method === "POST")?.headers["idempotency-key"];
  };

  test("the same CI run, attempt, target and image give the same Idempotency-Key", async () => {
    const first = await keyOf(["--image", "a:1"], ci);
    expect(first).toMatch(/^"ci-[0-9a-f]{40}"$/);
    expect(await keyOf(["--image", "a:1"], ci)).toBe(first);
    expect(await keyOf(["--image", "a:2"], ci)).not.toBe(first);
    expect(await keyOf(["--image", "a:1"], { ...ci, GITHUB_RUN_ATTEMPT: "2" })).not.toBe(first);
  });

  test("outside CI each deploy has a key of its own", async () => {
    expect(await keyOf([], {})).not.toBe(await keyOf([], {}));
  });

  test("flags become the request", async () => {
    await using api = await fakeApi(goodDeploy());
    const args = ["deploy", "--detach", "--image", "a:1", "--version", "1.4.2", "--when-busy", "reject"];
    const { stdout } = await callCli(args, { url: api.url, files });
    const asked = api.asked.find((call) => call.method === "POST");
    expect(JSON.parse(asked?.body ?? "")).toEqual({ image: "a:1", version: "1.4.2", whenBusy: "reject" });
    expect(asked?.headers.authorization).toBe("Bearer slu_test");
    expect(stdout).toBe("rel_2\n");
  });

  test("says in one line that the manifest differs from what is applied, and applies nothing", async () => {
    const changes = [{ path: "environments.production.replicas", before: 1, after: 3 }];
    const routes = goodDeploy({
      "PUT /api/v1/apps/shop": (_asked, answer) => answer.json(200, { ...unchanged, changes }),
    });
    await using api = await fakeApi(routes);
    const { stderr } = await callCli(["deploy"], { url: api.url, files });
    expect(lines(stderr)[0]).toMatch(
      /^sluice\.yaml differs from what is applied \(1 change\).*sluice deploy --apply/,
    );
    expect(api.asked.filter((call) => call.method === "PUT").map((call) => call.query.get("dryRun"))).toEqual(
      ["1"],
    );
  });

  test("--apply applies the manifest first", async () => {
    await using api = await fakeApi(goodDeploy());
    await callCli(["deploy", "--apply", "--detach"], { url: api.url, files });
    const put = api.asked[0];
    expect(put).toMatchObject({
      method: "PUT",
      body: MANIFEST,
      headers: { "content-type": "application/yaml" },
    });
    expect(put?.query.get("dryRun")).toBeNull();
  });

  test("an app control doesn't know is refused before anything starts, with the way to create it", async () => {
    const routes = goodDeploy({
      "PUT /api/v1/apps/shop": (_asked, answer) => answer.json(200, { ...unchanged, created: true }),
    });
    await using api = await fakeApi(routes);
    const ran = await callCli(["deploy"], { url: api.url, files });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain("sluice deploy --apply");
    expect(api.asked.some((call) => call.method === "POST")).toBe(false);
  });

  test("a token that may not look at the manifest's differences can still deploy", async () => {
    const routes = goodDeploy({
      "PUT /api/v1/apps/shop": (_asked, answer) => answer.problem({ code: "forbidden", status: 403 }),
    });
    await using api = await fakeApi(routes);
    expect(await callCli(["deploy"], { url: api.url, files })).toMatchObject({ code: 0 });
  });

  test("-a and -e need no manifest", async () => {
    await using api = await fakeApi(goodDeploy());
    const ran = await callCli(["deploy", "-a", "shop", "-e", "production"], { url: api.url });
    expect(ran.code, ran.stderr).toBe(0);
    expect(api.asked[0]?.method).toBe("POST");
  });

  test("the next commands repeat the flags that led here, never the token", async () => {
    await using api = await fakeApi(
      goodDeploy({
        [`POST ${ENV}/releases`]: (_asked, answer) => answer.json(202, aRelease()),
      }),
    );
    const { stderr } = await callCli(["deploy", "--url", api.url, "--token", "slu_secret"], { files });
    expect(stderr).toContain(`watch  sluice watch rel_2 --url ${api.url}`);
    expect(stderr).not.toContain("slu_secret");
  });
});
