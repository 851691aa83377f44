import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { lineOf } from "../../../cli/ship/manifest-line.ts";
import { summaryText } from "../../../cli/ship/summary.ts";
import { checkout } from "../../support/cli/checkout.ts";
import {
  aFailedRelease,
  anEnvironment,
  aRelease,
  aServingRelease,
  fakeApi,
  MANIFEST,
  type Route,
} from "../../support/cli/fake-api.ts";
import { beginCall, COMPILE_CACHE, callCli, MAIN, NODE } from "../../support/cli/run-cli.ts";
import { ENV, goodDeploy } from "../scenarios.ts";

const REQUIRES = `${MANIFEST}    requires: { branch: main, cleanTree: true, upToDate: true }\n`;
const DIGEST = `sha256:${"a".repeat(64)}`;
/** A docker that notes what it is asked, builds, and pushes. */
const DOCKER = `case "$1" in
  buildx) exit 1;;
  build) echo built;;
  push) echo "x: digest: ${DIGEST} size: 1";;
esac`;

interface Shipping {
  readonly args?: readonly string[];
  /** null: there is none. */
  readonly docker?: string | null;
  readonly env?: Readonly<Record<string, string>>;
  readonly url?: string;
  readonly git?: boolean;
  /** Interrupted once it has said this. */
  readonly kill?: string;
}
/** What ends a process. */
interface Ending {
  readonly signals?: readonly NodeJS.Signals[];
  readonly isUnread?: boolean;
}

/** A docker of the test's own, and the environment in which it is found. */
async function outfit({ folder }: { folder: string }, { docker = DOCKER, git = true, env, url }: Shipping) {
  const home = join(folder, "..");
  const bin = await mkdtemp(join(home, "bin-"));
  if (docker !== null) {
    await writeFile(join(bin, "docker"), `#!/bin/sh\nprintf '%s\\n' "$@" >>"${home}/asked"\n${docker}\n`);
    await chmod(join(bin, "docker"), 0o755);
  } else await symlink("/usr/bin/git", join(bin, "git"));
  await writeFile(join(home, "asked"), "");
  return {
    asked: async () => (await readFile(join(home, "asked"), "utf8")).split("\n"),
    env: {
      // Where docker is missing, this machine's own must not be found.
      PATH: docker === null || !git ? bin : `${bin}:/usr/bin:/bin`,
      HOME: home,
      GIT_CEILING_DIRECTORIES: home,
      SLUICE_URL: url ?? "http://127.0.0.1:9",
      SLUICE_TOKEN: "slu_test",
      ...env,
    },
  };
}

/** `sluice ship` in a repository, with a docker of the test's own. */
async function ship(work: { folder: string }, options: Shipping = {}) {
  const { env, asked } = await outfit(work, options);
  const { kill, args = [] } = options;
  const { said, interrupt, done } = await beginCall(["ship", ...args], { cwd: work.folder, env });
  if (kill !== undefined) await said(kill).then(interrupt);
  return { ...(await done), asked: await asked() };
}

/** The same as a process, where its ending is the point. */
async function shipAsProcess(
  work: { folder: string },
  { signals = [], isUnread = false, ...options }: Shipping & Ending,
) {
  const { env } = await outfit(work, options);
  const child = spawn(NODE, [MAIN, "ship", ...(options.args ?? [])], {
    cwd: work.folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...env, NODE_COMPILE_CACHE: COMPILE_CACHE },
  });
  if (isUnread) child.stderr.destroy();
  let [stdout, stderr] = ["", ""];
  let killed = false;
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    if (!options.kill || killed || !stderr.includes(options.kill)) return;
    killed = true;
    for (const signal of signals) child.kill(signal);
  });
  const [code] = (await once(child, "close")) as [number];
  return { code, stdout, stderr };
}

const goodShip = (over: Record<string, Route> = {}) =>
  goodDeploy({
    "GET /api/v1/releases/rel_2": (_asked, answer, nth) =>
      answer.json(200, nth <= 2 ? aRelease() : aServingRelease()),
    ...over,
  });

describe("requires", { concurrent: true }, () => {
  test.each<[string, (work: Awaited<ReturnType<typeof checkout>>) => unknown, string]>([
    [
      "another branch, whatever its name",
      (work) => work.git("checkout", "-q", "-b", "feature/ü-$(reboot)"),
      "`feature/ü-$(reboot)` is checked out, wanted `main`",
    ],
    [
      "a bare commit",
      (work) => work.git("checkout", "-q", "--detach"),
      "a bare commit is checked out, of no branch",
    ],
    [
      "a change that isn't committed",
      (work) => work.write({ "new file": "x" }),
      "1 path not as committed: new file",
    ],
    ["a commit that isn't pushed", (work) => work.commit(), "this commit is not pushed"],
    [
      "a remote that is ahead",
      (work) => {
        work.commit();
        work.git("push", "-q");
        work.git("reset", "-q", "--hard", "HEAD~1");
      },
      "the remote is ahead: pull",
    ],
    [
      "a remote that is gone",
      (work) => rm(join(work.folder, "../remote.git"), { recursive: true }),
      "the remote `origin` gave no answer",
    ],
    [
      "a remote that is gone, by its address without the password in it",
      (work) => work.git("config", "branch.main.remote", "https://bob:s3cr3t@127.0.0.1:9/x.git"),
      "the remote `https://127.0.0.1:9/x` gave no answer",
    ],
    [
      "an index that git can't read",
      (work) => work.write({ ".git/index": "garbage" }),
      "`cleanTree` can't be looked at: git status ended with 128",
    ],
    [
      "no repository",
      (work) => rm(join(work.folder, ".git"), { recursive: true }),
      "this is no git repository",
    ],
  ])("%s is named, and nothing is built", async (_name, change, words) => {
    await using work = await checkout({ "sluice.yaml": REQUIRES });
    await change(work);
    const ran = await ship(work, { env: { CI: "true", GITHUB_ACTIONS: "true" } });
    expect(ran.code, ran.stderr).toBe(2);
    expect(ran.stderr).toContain(words);
    expect(ran.stderr).toMatch(/^::error file=sluice\.yaml,line=7,title=requirement unmet::/m);
    expect(ran.stderr).not.toContain("s3cr3t");
    expect(ran.asked).not.toContain("build");
  });

  test("no control plane to release to is said before anything is built", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const ran = await ship(work, { env: { SLUICE_URL: "", SLUICE_TOKEN: "" } });
    expect(ran.code, ran.stderr).toBe(1);
    expect(ran.asked).not.toContain("build");
    expect(ran.stderr).toContain("no control plane is set");
  });

  test("without git: what it would have to ask is named, and what asks nothing is shipped", async () => {
    await using work = await checkout({ "sluice.yaml": REQUIRES });
    const refused = await ship(work, { git: false });
    expect(refused.code, refused.stderr).toBe(2);
    for (const key of ["branch", "cleanTree", "upToDate"])
      expect(refused.stderr).toContain(
        `requires.${key}: \`${key}\` can't be looked at: git is not installed`,
      );
    await work.write({ "sluice.yaml": MANIFEST });
    await using api = await fakeApi(goodShip());
    const ran = await ship(work, { git: false, url: api.url });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.asked).toContain("--tag=ghcr.io/acme/shop:untracked");
  });

  test("tests that change what is to be built are no proof of it", async () => {
    const manifest = `${MANIFEST}    requires: { cleanTree: true, test: [sh, -c, "echo broken >>app.js"] }\n`;
    await using work = await checkout({ "sluice.yaml": manifest, "app.js": "good\n" });
    const ran = await ship(work);
    expect(ran.code, ran.stderr).toBe(2);
    expect(ran.stderr).toContain("the tree changed while the tests ran: app.js");
    expect(ran.asked).not.toContain("build");
  });

  test("what the tests leave running holds nothing up", async () => {
    const manifest = `${MANIFEST}    requires: { test: [sh, -c, "sleep 60 & exit 1"] }\n`;
    await using work = await checkout({ "sluice.yaml": manifest });
    const begun = performance.now();
    const ran = await ship(work);
    expect(ran.code, ran.stderr).toBe(2);
    expect(performance.now() - begun).toBeLessThan(45_000);
  });

  test("a job's bare commit is of the branch that its CI system names, in a shallow clone too", async () => {
    await using work = await checkout({ "sluice.yaml": REQUIRES });
    work.commit();
    work.git("push", "-q");
    work.git(
      "clone",
      "-q",
      "--depth=1",
      "--branch=main",
      `file://${join(work.folder, "../remote.git")}`,
      join(work.folder, "../shallow"),
    );
    const folder = join(work.folder, "../shallow");
    work.git("-C", folder, "checkout", "-q", "--detach");
    const env = { GITHUB_ACTIONS: "true", GITHUB_REF_TYPE: "branch", GITHUB_REF_NAME: "main" };
    const ran = await ship({ folder }, { args: ["--dry-run"], env });
    expect(ran.stderr + ran.stdout).not.toContain("✖ requires");
    const pull = await ship(
      { folder },
      { args: ["--dry-run"], env: { ...env, GITHUB_REF_NAME: "12/merge" } },
    );
    expect(pull.stdout).toContain("✖ requires.branch");
  });
});

describe("docker", { concurrent: true }, () => {
  test.each<[string, string | null, string]>([
    ["is not there", null, "docker is not installed"],
    [
      "has no engine",
      'case "$1" in buildx) exit 1;; esac; echo "Cannot connect to the Docker daemon at unix:///x" >&2; exit 1',
      "no Docker engine answers",
    ],
    [
      "may not push",
      `case "$1" in push) echo "denied: requested access to the resource is denied" >&2; exit 1;; buildx) exit 1;; esac`,
      "refused this login: `docker login`",
    ],
    [
      "has a full disk",
      `case "$1" in build) echo "write /x: no space left on device" >&2; exit 1;; buildx) exit 1;; esac`,
      "the disk is full",
    ],
  ])("%s: said in words, exit 2", async (_name, docker, words) => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const ran = await ship(work, { docker });
    expect(ran.code, ran.stderr).toBe(2);
    expect(ran.stderr).toContain(words);
  });

  test("a build that prints 10 MB is told in its first lines and, when it fails, its last", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const summary = join(work.folder, "../summary");
    const docker = `case "$1" in build) yes 'as long as a line of a build is, and then some more of it' | head -c 10000000; echo; echo THE CAUSE; exit 1;; buildx) exit 1;; esac`;
    const ran = await ship(work, { docker, env: { CI: "true", GITHUB_STEP_SUMMARY: summary } });
    expect(ran.code).toBe(2);
    expect(ran.stderr.length).toBeLessThan(400_000);
    expect(ran.stderr).toContain("left out from here");
    expect(ran.stderr).toContain("  | THE CAUSE");
    expect(await readFile(summary, "utf8")).toContain("THE CAUSE");
  });

  test.each([
    ["received unexpected HTTP status: 503 Service Unavailable", "the registry answered 503"],
    ["no basic auth credentials", "the registry refused this login"],
    ["dial tcp 127.0.0.1:5: connect: connection refused", "the registry can't be reached"],
  ])("a push that ends with %j: %s", async (said, words) => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const docker = `case "$1" in buildx) exit 1;; push) echo "${said}"; exit 1;; esac`;
    const ran = await ship(work, { docker });
    expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining(`was not pushed: ${words}`)]);
  });

  test("every value is one word of its own, and no token of ours reaches it", async () => {
    await using work = await checkout({
      "sluice.yaml": `${MANIFEST}build: { context: ., target: runner, platform: linux/amd64, args: { A: "$(touch evil) --push" } }\n`,
    });
    await using api = await fakeApi(goodShip());
    const docker = `env >>"$HOME/env"\n${DOCKER}`;
    const ran = await ship(work, { docker, url: api.url });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.asked).toContain("--build-arg=A=$(touch evil) --push");
    expect(ran.asked).toContain("--target=runner");
    expect(await readFile(join(work.folder, "../env"), "utf8")).not.toContain("SLUICE_TOKEN");
    const asked = api.asked.find(({ method, path }) => method === "POST" && path === `${ENV}/releases`);
    expect(JSON.parse(asked?.body ?? "{}")).toMatchObject({ image: `ghcr.io/acme/shop@${DIGEST}` });
  });
});

describe("a release whose smoke test fails", { concurrent: true }, () => {
  const manifest = `${MANIFEST}    smokeTest: ["false"]\n`;
  const endsIn = async (environment: ReturnType<typeof anEnvironment>) => {
    await using work = await checkout({ "sluice.yaml": manifest });
    let released = false;
    await using api = await fakeApi(
      goodShip({
        [`POST ${ENV}/releases`]: (_asked, answer) => {
          released = true;
          answer.json(202, aRelease());
        },
        [`GET ${ENV}`]: (_asked, answer) => answer.json(200, released ? environment : anEnvironment()),
      }),
    );
    const ran = await ship(work, { url: api.url, args: ["--json"] });
    const { outcome } = JSON.parse(ran.stdout);
    return { ...ran, outcome, rolledBack: api.asked.some(({ path }) => path.endsWith("/rollback")) };
  };

  test("is not given the traffic back while another is on its way, and that is said", async () => {
    const to = { release: "rel_2", version: "v2" };
    const back = { possible: true, how: "instant", from: null, to, reason: "v2 is warm" } as const;
    const ran = await endsIn(
      anEnvironment(
        [
          ["v2", 90],
          ["v3", 10],
        ],
        { active: aRelease({ id: "rel_3", version: "v3" }), rollback: back },
      ),
    );
    expect(ran, ran.stderr).toMatchObject({ code: 4, outcome: "live", rolledBack: false });
    expect(ran.stderr).toContain(
      "v2 is left as it is: v3 is on its way, and a rollback would lead back to v2",
    );
  });

  test("and that has no traffic any more is not said to be rolled back", async () => {
    const ran = await endsIn(anEnvironment([["v3", 100]]));
    expect(ran, ran.stderr).toMatchObject({ code: 3, outcome: "superseded", rolledBack: false });
  });
});

test("what a smoke test came to doesn't hide what the manifest's requests came to", async () => {
  const manifest = `${MANIFEST.replace("shop.example.com", "shop.localhost")}    smokeTest: ["true"]\nsmoke: [{ path: /health }]\n`;
  await using work = await checkout({ "sluice.yaml": manifest });
  await using api = await fakeApi(
    goodShip({ "GET /health": (_asked, answer) => answer.raw(200, "text/plain", "") }),
  );
  const { url } = api;
  await work.write({ "../.config/sluice/cli.json": JSON.stringify({ url, token: "t", edge: url }) });
  await chmod(join(work.folder, "../.config/sluice/cli.json"), 0o600);
  const ran = await ship(work, { url });
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.stderr).toMatch(/✔ smoke .* {2}1 request to http:\/\/shop\.localhost:\d+; true passed$/m);
});

describe("run again after it was cut short", { concurrent: true }, () => {
  const sleeps = (stage: string) =>
    `case "$1" in ${stage}) echo "at $2 it"; sleep 60;; buildx) exit 1;; esac`;
  test.each<[string, string, string]>([
    ["requires", `${MANIFEST}    requires: { test: [sh, -c, "echo run it; sleep 60"] }\n`, ":"],
    ["build", MANIFEST, sleeps("build")],
    ["push", MANIFEST, sleeps("push")],
  ])("at %s: nothing was released, and the command to go on is said", async (stage, manifest, docker) => {
    await using work = await checkout({ "sluice.yaml": manifest });
    const args = ["--no-apply", "--hold", "--version", "1.2"];
    const ran = await ship(work, { docker, kill: " it\n", args });
    expect(ran.code, ran.stderr).toBe(130);
    expect(ran.stderr).toContain(
      `interrupted at ${stage}: nothing was released, and nothing goes on.\n  again   sluice ship --from ${stage} ${args.join(" ")}`,
    );
  });

  test("in its smoke test: what serves is said, and how to look again or go back", async () => {
    const manifest = `${MANIFEST}    smokeTest: [sh, -c, "echo it; sleep 60"]\n`;
    await using work = await checkout({ "sluice.yaml": manifest });
    await using api = await fakeApi(goodShip());
    const ran = await ship(work, { url: api.url, kill: "\nit\n" });
    expect(ran.code, ran.stderr).toBe(130);
    expect(ran.stderr).toContain("the release serves, and its smoke test was cut short");
    expect(ran.stderr).toContain("again   sluice ship --from smoke");
    expect(ran.stderr).toContain("undo    sluice rollback -a shop -e production --from rel_2");
  });

  test("while the release went on: it goes on, and the ways to follow and to abort it are said", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    await using api = await fakeApi(
      goodShip({
        "GET /api/v1/releases/rel_2": (_asked, answer) => answer.json(200, aRelease()),
        "GET /api/v1/releases/rel_2/events": (_asked, answer) => void answer.feed(),
      }),
    );
    const ran = await ship(work, { url: api.url, kill: "watch  " });
    expect(ran.code, ran.stderr).toBe(130);
    expect(ran.stderr).toContain("v2 goes on without this command");
    expect(ran.stderr).toContain("abort  sluice abort rel_2");
    // And the next run joins it, with the same key.
    await using later = await fakeApi(
      goodShip({
        [`POST ${ENV}/releases`]: (_asked, answer) =>
          answer.json(202, aRelease(), { "idempotency-replayed": "true" }),
      }),
    );
    const again = await ship(work, { url: later.url });
    expect(again.stderr).toContain(": an earlier run began it");
    const keyOf = ({ asked }: typeof api) =>
      asked.find(({ method }) => method === "POST")?.headers["idempotency-key"];
    expect(keyOf(later)).toBe(keyOf(api));
  });

  test("a terminal that is closed leaves no docker behind, and is no shorter end than Ctrl-C", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const pid = join(work.folder, "../pid");
    const docker = `case "$1" in buildx) exit 1;; build) echo $$ >"${pid}"; echo "at $2 it"; exec sleep 600;; esac`;
    const ran = await shipAsProcess(work, { docker, kill: " it\n", signals: ["SIGHUP"] });
    expect(ran.code, ran.stderr).toBe(130);
    expect(ran.stderr).toContain("interrupted at build: nothing was released");
    const build = Number(await readFile(pid, "utf8"));
    expect(() => process.kill(build, 0)).toThrow("ESRCH");
  });

  test("whoever reads its words may go away: it ships on, and its exit code tells how that went", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    await using api = await fakeApi(goodShip());
    const ran = await shipAsProcess(work, { url: api.url, args: ["--json"], isUnread: true });
    expect([ran.code, JSON.parse(ran.stdout).outcome]).toEqual([0, "live"]);
  });

  test("a second signal leaves no docker behind, though it heeds none", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const pid = join(work.folder, "../pid");
    const deaf = `case "$1" in buildx) exit 1;; build) trap "" INT TERM; echo $$ >"${pid}"; echo "at $2 it"; while :; do sleep 1; done;; esac`;
    const ran = await shipAsProcess(work, { docker: deaf, kill: " it\n", signals: ["SIGINT", "SIGTERM"] });
    expect(ran.code, ran.stderr).toBe(130);
    const build = Number(await readFile(pid, "utf8"));
    await vi.waitFor(() => expect(() => process.kill(build, 0)).toThrow("ESRCH"), 20_000);
  });

  test("two at once are one release, which both follow to its end", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    await using api = await fakeApi(goodShip());
    const [one, other] = await Promise.all([ship(work, { url: api.url }), ship(work, { url: api.url })]);
    expect([one.code, other.code], one.stderr + other.stderr).toEqual([0, 0]);
    for (const { stderr } of [one, other]) expect(stderr).toContain("✔ release");
    const keys = api.asked
      .filter(({ method, path }) => method === "POST" && path === `${ENV}/releases`)
      .map(({ headers }) => headers["idempotency-key"]);
    expect([keys.length, new Set(keys).size]).toEqual([2, 1]);
  });

  test("what failed is said with the ship that tries it again, and no deploy of what lies in no registry", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const failed = aFailedRelease({ id: "rel_2" });
    await using api = await fakeApi(
      goodShip({
        "GET /api/v1/releases/rel_2": (_asked, answer, nth) =>
          answer.json(200, nth <= 1 ? aRelease() : failed),
      }),
    );
    const ran = await ship(work, { url: api.url, args: ["--version", "1.2"] });
    expect(ran.stderr).toMatch(/ {4}sluice ship --version 1\.2 +the cause is mended/);
    expect(ran.stderr).not.toContain("sluice deploy");
  });

  test("what failed is tried again as a release of its own", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const failed = aRelease({ id: "rel_1", version: "v1", state: "failed" });
    await using api = await fakeApi(
      goodShip({
        [`POST ${ENV}/releases`]: (_asked, answer, nth) =>
          nth === 1
            ? answer.json(202, failed, { "idempotency-replayed": "true" })
            : answer.json(202, aRelease()),
        "GET /api/v1/releases/rel_1": (_asked, answer) => answer.json(200, failed),
      }),
    );
    const ran = await ship(work, { url: api.url });
    expect(ran.code, ran.stderr).toBe(0);
    const keys = api.asked
      .filter(({ method }) => method === "POST")
      .map(({ headers }) => headers["idempotency-key"]);
    expect([keys.length, new Set(keys).size]).toEqual([2, 2]);
  });

  test("what fails before anybody could look is one release, and said why", async () => {
    await using work = await checkout({ "sluice.yaml": MANIFEST });
    const failed = aFailedRelease({ id: "rel_2" });
    await using api = await fakeApi(
      goodShip({
        [`POST ${ENV}/releases`]: (_asked, answer) => answer.json(202, failed),
        "GET /api/v1/releases/rel_2": (_asked, answer) => answer.json(200, failed),
        [`GET ${ENV}`]: (_asked, answer) => answer.json(200, anEnvironment([["v1", 100]])),
      }),
    );
    const ran = await ship(work, { url: api.url });
    expect(ran.code, ran.stderr).toBe(3);
    expect(ran.stderr).toContain(failed.failure?.message);
    expect(api.asked.filter(({ method }) => method === "POST")).toHaveLength(1);
  });
});

test("a summary stays under GitHub's limit, and no text of others is markup in it", () => {
  const tail = ["```", "<script>", "x".repeat(5_000)];
  const text = summaryText({
    title: "v1 | [x](y)",
    ok: false,
    stages: [],
    facts: [["why", "<img>\n| a |"]],
    tail,
  });
  expect(text).toContain("````text");
  expect(text).not.toContain("<img>");
  expect(text).not.toContain("[x](y)");
  expect(text.length).toBeLessThan(10_000);
});

test("a summary says a cause once, in lines as a terminal would have shown them", async () => {
  await using work = await checkout({ "sluice.yaml": MANIFEST });
  const file = join(work.folder, "../summary.md");
  const docker = `case "$1" in buildx) exit 1;; build) printf '\\033[91mboom\\033[0m\\n'; exit 4;; esac`;
  await ship(work, { docker, env: { CI: "true", GITHUB_ACTIONS: "true", GITHUB_STEP_SUMMARY: file } });
  const text = await readFile(file, "utf8");
  expect(text.match(/docker ended with 4/g)).toHaveLength(1);
  expect(text).toContain("\nboom\n");
});

test("an annotation stands at the key's line, or at what is nearest above it", () => {
  expect(lineOf(REQUIRES, "environments.production.requires.branch")).toBe(7);
  expect(lineOf(REQUIRES, "environments.production.smokeTest")).toBe(5);
  expect(lineOf("a: [", "b")).toBeUndefined();
});

describe("promote-to", { concurrent: true }, () => {
  const staging = "GET /api/v1/apps/shop/envs/staging";
  const files = { "sluice.yaml": MANIFEST };

  test("sends the release that it showed, so that another one is refused and not promoted", async () => {
    const live = aServingRelease({ id: "rel_7", version: "v7", environment: "staging" });
    await using api = await fakeApi(
      goodDeploy({ [staging]: (_asked, answer) => answer.json(200, anEnvironment([["v7", 100]], { live })) }),
    );
    const ran = await callCli(["promote-to", "production", "--from", "staging"], { files, url: api.url });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stderr).toContain("shop/staging serves v7");
    const asked = api.asked.find(({ method }) => method === "POST");
    expect(JSON.parse(asked?.body ?? "{}")).toMatchObject({
      from: { environment: "staging", release: "rel_7" },
    });
  });

  test("a refusal of what was looked at is exit 2, and nothing serving there is said", async () => {
    await using api = await fakeApi({
      [staging]: (_asked, answer) => answer.json(200, anEnvironment([])),
      [`POST ${ENV}/releases`]: (_asked, answer) =>
        answer.problem({ code: "precondition_failed", status: 412 }),
    });
    const stale = ["promote-to", "production", "--from", "staging", "--release", "v6"];
    expect((await callCli(stale, { files, url: api.url })).code).toBe(2);
    const none = await callCli(["promote-to", "production", "--from", "staging"], { files, url: api.url });
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("nothing serves in shop/staging");
  });
});
