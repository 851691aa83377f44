import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pullRequestIn } from "../../../cli/io/pull-request.ts";
import {
  closedPreviewSchema,
  openedPreviewSchema,
  openPreviewSchema,
  type PullPreview,
} from "../../../src/protocol/api/previews/pulls.ts";
import { aRelease, at, fakeApi, MANIFEST, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { goodDeploy } from "../scenarios.ts";

const ALL = "/api/v1/apps/shop/previews";
const IMAGE = "ghcr.io/acme/shop:pr-12";
/** A branch as anybody may name one. */
const BRANCH = "feature/ümläut-$(id)`x`";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-event-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ours = { id: 456, full_name: "acme/shop" };
const pull = (over: object = {}, head: object = {}) => ({
  action: "synchronize",
  pull_request: {
    number: 12,
    html_url: "https://github.com/acme/shop/pull/12",
    head: { sha: "c0ffee", ref: BRANCH, repo: ours, ...head },
    base: { ref: "main", repo: ours },
    ...over,
  },
});

/** What a job's environment says of such an event, at GitHub. */
async function jobOf(event: unknown): Promise<Record<string, string>> {
  const file = join(folder, `${Math.abs(hash(JSON.stringify(event)))}.json`);
  await writeFile(file, typeof event === "string" ? event : JSON.stringify(event));
  return { GITHUB_EVENT_PATH: file, GITHUB_RUN_ID: "101" };
}
const hash = (text: string) => [...text].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, 7);

describe("the pull request that a job is of", () => {
  const whole = {
    number: 12,
    run: 101,
    url: "https://github.com/acme/shop/pull/12",
    sha: "c0ffee",
    branch: BRANCH,
    fork: false,
  };

  test.each<[string, unknown, object | undefined]>([
    ["of its own repository", pull(), whole],
    ["of a fork", pull({}, { repo: { id: 789, full_name: "mallory/shop" } }), { ...whole, fork: true }],
    ["of a fork that was deleted", pull({}, { repo: null }), { ...whole, fork: true }],
    [
      "that says less, as Forgejo's may",
      { pull_request: { number: 3, head: { repo: ours }, base: { repo: ours } } },
      { number: 3, run: 101, fork: false },
    ],
    [
      "with a branch beyond all reason",
      pull({}, { ref: "x".repeat(999) }),
      { ...whole, branch: "x".repeat(255) },
    ],
    ["that is a push", { ref: "refs/heads/main", commits: [] }, undefined],
    ["that is a comment at a pull request", { issue: { number: 12, pull_request: {} } }, undefined],
    ["whose number is text", pull({ number: "12" }), undefined],
    ["that is no JSON", "{", undefined],
  ])("at GitHub, by an event %s", async (_, event, is) => {
    expect(pullRequestIn(await jobOf(event))).toEqual(is);
  });

  test.each<[string, Record<string, string>, object | undefined]>([
    ["an event file that is not there", { GITHUB_EVENT_PATH: "/nowhere/event.json" }, undefined],
    [
      "GitLab",
      {
        CI_MERGE_REQUEST_IID: "7",
        CI_MERGE_REQUEST_SOURCE_PROJECT_ID: "1",
        CI_MERGE_REQUEST_PROJECT_ID: "1",
        CI_PIPELINE_ID: "900",
      },
      { number: 7, run: 900, fork: false },
    ],
    [
      "GitLab, from a fork",
      {
        CI_MERGE_REQUEST_IID: "7",
        CI_MERGE_REQUEST_SOURCE_PROJECT_ID: "2",
        CI_MERGE_REQUEST_PROJECT_ID: "1",
      },
      { number: 7, fork: true },
    ],
    [
      "Buildkite, by SSH and by https",
      {
        BUILDKITE_PULL_REQUEST: "8",
        BUILDKITE_PULL_REQUEST_REPO: "https://github.com/Acme/shop.git",
        BUILDKITE_REPO: "git@github.com:acme/shop.git",
        BUILDKITE_BUILD_NUMBER: "31",
      },
      { number: 8, run: 31, fork: false },
    ],
    [
      "Buildkite, from a fork",
      {
        BUILDKITE_PULL_REQUEST: "8",
        BUILDKITE_PULL_REQUEST_REPO: "git://github.com/mallory/shop.git",
        BUILDKITE_REPO: "git@github.com:acme/shop.git",
      },
      { number: 8, fork: true },
    ],
    ["Buildkite, of none", { BUILDKITE_PULL_REQUEST: "false" }, undefined],
    [
      "CircleCI",
      { CIRCLE_PULL_REQUEST: "https://github.com/acme/shop/pull/9", CIRCLE_BUILD_NUM: "5" },
      { number: 9, run: 5, fork: false },
    ],
    [
      "CircleCI, from a fork",
      { CIRCLE_PULL_REQUEST: "https://github.com/acme/shop/pull/9", CIRCLE_PR_REPONAME: "shop" },
      { number: 9, fork: true },
    ],
    ["CircleCI, of none", { CIRCLE_PULL_REQUEST: "" }, undefined],
    ["nothing at all", {}, undefined],
  ])("by the variables of %s", (_, env, is) => {
    expect(pullRequestIn(env)).toEqual(is);
  });
});

const preview = (over: Partial<PullPreview> = {}): PullPreview => ({
  app: "shop",
  number: 12,
  environment: "pr-12",
  url: "https://pr-12-shop.example.com",
  state: "waiting",
  createdAt: at(0),
  expiresAt: at(3 * 86_400_000),
  git: { sha: "c0ffee", branch: BRANCH },
  pull: null,
  by: "ci",
  cause: null,
  ...over,
});
const opens: Route = (asked, answer) => {
  openPreviewSchema.parse(JSON.parse(asked.body));
  answer.json(
    202,
    openedPreviewSchema.parse({ preview: preview(), release: aRelease({ environment: "pr-12" }) }),
  );
};

async function run(
  args: readonly string[],
  { routes = {}, env = {} }: { routes?: Record<string, Route>; env?: Record<string, string> } = {},
) {
  await using api = await fakeApi(goodDeploy({ [`POST ${ALL}`]: opens, ...routes }));
  const files = { "sluice.yaml": MANIFEST };
  const ran = await callCli(["preview", ...args], { url: api.url, files, env });
  return { ...ran, asked: api.asked };
}
const up = ["up", "--image", IMAGE];

describe.concurrent("preview up", () => {
  test("says whose it is as the job's event does, and waits until it serves", async () => {
    const { code, stderr, asked } = await run(up, { env: await jobOf(pull()) });
    expect(code, stderr).toBe(0);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      number: 12,
      image: IMAGE,
      git: { sha: "c0ffee", branch: BRANCH },
      url: "https://github.com/acme/shop/pull/12",
      run: 101,
    });
    expect(stderr).toContain("url    https://pr-12-shop.example.com, ends ");
    expect(stderr).toContain("v2 serves 100%");
  });

  test("says that it is a fork's, and what control says to that", async () => {
    const { code, stderr, asked } = await run(up, {
      env: await jobOf(pull({}, { repo: null })),
      routes: {
        [`POST ${ALL}`]: (_asked, answer) =>
          answer.problem({ code: "forbidden", status: 403, detail: "the pull request comes from a fork" }),
      },
    });
    expect(JSON.parse(asked[0]?.body ?? "")).toMatchObject({ fork: true });
    expect(code).toBe(1);
    expect(stderr).toContain("the pull request comes from a fork");
  });

  test("of another than the job's has nothing of the job's", async () => {
    const { asked } = await run([...up, "--pr", "13", "--detach"], { env: await jobOf(pull()) });
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({ number: 13, image: IMAGE });
  });

  test("of one run, tried again, is the same call; another run's is another", async () => {
    const keyOf = async (attempt: string) => {
      const run1 = { GITHUB_RUN_ATTEMPT: attempt, GITHUB_JOB: "up", GITHUB_REPOSITORY: "acme/shop" };
      const ran = await run([...up, "--detach"], { env: { ...(await jobOf(pull())), ...run1 } });
      return ran.asked[0]?.headers["idempotency-key"];
    };
    const [first, again, other] = await Promise.all([keyOf("1"), keyOf("1"), keyOf("2")]);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  test("answers with the release alone, and with its address in JSON", async () => {
    const detached = await run([...up, "--pr", "12", "--detach"]);
    expect(detached).toMatchObject({ code: 0, stdout: "rel_2\n" });
    const { stdout } = await run([...up, "--pr", "12", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ command: "preview up", outcome: "live", exitCode: 0, release: { id: "rel_2" } },
      preview: { url: "https://pr-12-shop.example.com", environment: "pr-12" },
    });
  });

  test("waits for the one before that is still being taken down, and says so once", async () => {
    const { code, stderr, asked } = await run([...up, "--pr", "12", "--detach"], {
      routes: {
        [`POST ${ALL}`]: (call, answer, nth) =>
          nth > 2
            ? opens(call, answer, nth)
            : answer.problem(
                { code: "conflict", status: 409, detail: "still being taken down" },
                { "retry-after": "0" },
              ),
      },
    });
    expect(code, stderr).toBe(0);
    expect(asked.length).toBe(3);
    expect(stderr.match(/waiting for that/g)?.length).toBe(1);
  });

  test("waits for nothing that no time mends", async () => {
    const { code, stderr, asked } = await run([...up, "--pr", "12"], {
      routes: {
        [`POST ${ALL}`]: (_asked, answer) =>
          answer.problem({ code: "conflict", status: 409, detail: "shop has 2 previews" }),
      },
    });
    expect(code).toBe(2);
    expect(stderr).toContain("shop has 2 previews");
    expect(asked.length).toBe(1);
  });

  test.each([
    [["--image", IMAGE], "name its number with --pr"],
    [["--image", IMAGE, "--pr", "0"], "It must be a pull request's number"],
    [["--image", IMAGE, "--pr", "012"], "It must be a pull request's number"],
    [["--image", IMAGE, "--pr", "12; rm -rf /"], "It must be a pull request's number"],
    [["--pr", "12"], "--image"],
    [["--pr", "12", "--image", ""], "--image"],
    [["--pr", "12", "--image", "a b"], "--image"],
  ])("asks nothing of control with %j", async (args, words) => {
    const { code, stderr, asked } = await run(["up", ...args]);
    expect(code).toBe(1);
    expect(stderr).toContain(words);
    expect(asked).toEqual([]);
  });
});

describe.concurrent("preview down", () => {
  const path = `DELETE ${ALL}/12`;
  const closes =
    (waitsFor: string[]): Route =>
    (_asked, answer) =>
      answer.json(
        202,
        closedPreviewSchema.parse({
          ending: {
            app: "shop",
            environment: "pr-12",
            by: "ci",
            since: at(0),
            keeps: [],
            next: [],
            waitsFor,
          },
        }),
      );

  test("takes the job's own down, and says for which run it speaks", async () => {
    const { code, stderr, asked } = await run(["down"], {
      env: await jobOf(pull()),
      routes: { [path]: closes(["the instance on web-1"]) },
    });
    expect(code, stderr).toBe(0);
    expect(String(asked[0]?.query)).toBe("run=101");
    expect(stderr).toBe("shop/pr-12 is on its way out; it waits for the instance on web-1\n");
  });

  test("by hand speaks for no run, and one that is not there is fine", async () => {
    const { code, stderr, asked } = await run(["down", "--pr", "12"], {
      env: await jobOf(pull({ number: 13 })),
      routes: { [path]: (_asked, answer) => answer.json(200, { ending: null }) },
    });
    expect(code).toBe(0);
    expect(String(asked[0]?.query)).toBe("");
    expect(stderr).toBe("shop/pr-12 is not there (any more)\n");
  });

  test("that comes too late for a newer run is refused", async () => {
    const { code, stderr } = await run(["down"], {
      env: await jobOf(pull()),
      routes: {
        [path]: (_asked, answer) =>
          answer.problem({ code: "stale_step", status: 409, detail: "run 103 was here after run 101" }),
      },
    });
    expect(code).toBe(2);
    expect(stderr).toContain("run 103 was here after run 101");
  });
});

describe.concurrent("preview list", () => {
  const listed =
    (...items: PullPreview[]): Route =>
    (_asked, answer) =>
      answer.json(200, { items });

  test("has a line for each, without what a branch's name would do to a terminal", async () => {
    const going = preview({ number: 13, state: "down", git: { branch: "a\u001b[2Jb" }, cause: "asked" });
    const { stdout } = await run(["list"], { routes: { [`GET ${ALL}`]: listed(preview(), going) } });
    const [head, first, second] = stdout.split("\n");
    expect(head).toMatch(/^PR +STATE +URL +ENDS +BRANCH +COMMIT +SINCE$/);
    expect(first).toContain(BRANCH);
    expect(first).toContain("https://pr-12-shop.example.com");
    expect(second).toMatch(/^13 +down .* now /);
    expect(second).not.toContain("\u001b");
  });

  test("leads to the local edge where control is local", async () => {
    await using api = await fakeApi({ [`GET ${ALL}`]: listed(preview()) });
    const config = JSON.stringify({ url: api.url, token: "slu_x", edge: "http://127.0.0.1:18080" });
    const files = { ".sluice/cli.json": config };
    const { stdout } = await callCli(["preview", "list", "-a", "shop"], { files });
    expect(stdout).toContain(" http://pr-12-shop.example.com:18080 ");
  });

  test("says that there is none", async () => {
    const { code, stdout } = await run(["list"], { routes: { [`GET ${ALL}`]: listed() } });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "no previews of shop\n" });
  });
});
