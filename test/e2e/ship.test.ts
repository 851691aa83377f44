import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { baseImage, removeImages } from "../../local/images.ts";
import { type Checkout, checkout } from "../support/cli/checkout.ts";
import { COMPILE_CACHE, MAIN, NODE } from "../support/cli/run-cli.ts";
import { dockerTest, engine, type Registry, startRegistry } from "../support/engine/docker.ts";
import { Installation } from "../support/stack/installation.ts";

/** From commit to live with a real git repository, engine, registry, control and host. */
const EXAMPLE = join(import.meta.dirname, "../../examples/hello");
let sluice: Installation;
let registry: Registry;
let work: Checkout;

const manifest = (more: object = {}, requires: object = {}) =>
  stringify({
    app: "hello",
    image: `${registry.address}/acme/hello`,
    build: { context: ".", args: { BASE: base } },
    port: 3000,
    health: { startup: { path: "/ready", interval: "100ms" }, readiness: { path: "/ready" } },
    smoke: [{ path: "/health", contains: "healthy" }],
    drain: "0s",
    stopGrace: "2s",
    environments: {
      production: {
        hostnames: ["hello.localhost"],
        keep: "10m",
        requires: {
          branch: "main",
          cleanTree: true,
          upToDate: true,
          test: ["node", "--version"],
          ...requires,
        },
        ...more,
      },
    },
  });
let base = "";

beforeAll(async () => {
  if (!engine) return;
  base = await baseImage(engine);
  [sluice, registry] = await Promise.all([
    Installation.start({ hosts: 2, runtime: "docker" }),
    startRegistry(),
  ]);
  work = await checkout({ "sluice.yaml": manifest() });
  await cp(EXAMPLE, work.folder, { recursive: true, filter: (name) => !name.endsWith("sluice.yaml") });
  work.commit("the app");
  work.git("push", "-q");
});

afterAll(async () => {
  await sluice?.close();
  const tags = work
    ? work
        .git("log", "--format=%H")
        .trim()
        .split("\n")
        .map((sha) => `${registry.address}/acme/hello:${sha.slice(0, 12)}`)
    : [];
  if (engine) await removeImages(engine, [...tags, ...(await shippedTags())]);
  await registry?.close();
  await work?.[Symbol.asyncDispose]();
});

/** What was built for hosts, and what they fetched. */
async function shippedTags(): Promise<string[]> {
  const query = { filters: JSON.stringify({ reference: ["sluice.local/boat"] }) };
  const rows = await engine?.json(
    z.array(z.object({ RepoTags: z.array(z.string()) })),
    "GET",
    "/images/json",
    {
      query,
    },
  );
  return rows?.flatMap(({ RepoTags }) => RepoTags) ?? [];
}

interface Shipped {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Way {
  readonly tty?: boolean;
  /** Where control is reached. */
  readonly url?: string;
  /** Kills it when it aborts. */
  readonly kill?: AbortSignal;
}

/** `sluice ship` in the repository; on a pseudo-terminal if asked to. */
async function ship(
  args: readonly string[],
  env: Record<string, string> = {},
  { tty = false, url = sluice.controlUrl, kill }: Way = {},
): Promise<Shipped> {
  const command = [NODE, MAIN, "ship", ...args];
  const config = join(work.folder, "../cli.json");
  await writeFile(config, JSON.stringify({ url, token: sluice.home.token, edge: sluice.edgeUrl }), {
    mode: 0o600,
  });
  const home = join(work.folder, "..");
  await cp(config, join(home, ".config/sluice/cli.json"));
  const [program = "", ...rest] = tty ? ["script", "-qec", command.join(" "), "/dev/null"] : command;
  const child = spawn(program, rest, {
    cwd: work.folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      HOME: home,
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      TERM: "xterm-256color",
      DOCKER_CONFIG: home,
      GIT_CEILING_DIRECTORIES: home,
      ...env,
    },
  });
  const texts = { stdout: "", stderr: "" };
  kill?.addEventListener("abort", () => child.kill("SIGKILL"));
  child.stdout.on("data", (chunk) => (texts.stdout += chunk));
  child.stderr.on("data", (chunk) => (texts.stderr += chunk));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, ...texts };
}

dockerTest("a commit goes live on a terminal; the same commit again is the same release", async () => {
  const first = await ship([], {}, { tty: true });
  if (process.env.SHIP_OUTPUT) await writeFile(`${process.env.SHIP_OUTPUT}-terminal.txt`, first.stdout);
  expect(first.code, first.stdout).toBe(0);
  expect(first.stdout).toContain("v1 serves 100% of hello/production");
  for (const stage of ["requires", "build", "push", "release", "smoke"])
    expect(first.stdout).toMatch(new RegExp(`✔.* ${stage} +[\\d.]+ m?s`));
  const again = await ship([], { CI: "true" });
  expect(again.code, again.stderr).toBe(0);
  expect(again.stderr).toContain("v1 serves this image and this manifest already");
  const { items } = await sluice.client.releases.list("hello", "production");
  expect(items).toHaveLength(1);
  expect(items[0]?.git?.branch).toBe("main");
  expect(items[0]?.image).toMatch(/\/acme\/hello@sha256:[0-9a-f]{64}$/);
});

dockerTest(
  "a job gets groups, a summary and outputs; a smoke test that fails takes the release back and exits 3",
  async () => {
    await work.write({
      "sluice.yaml": manifest({ smokeTest: ["node", "-e", "console.log(process.env.SLUICE_PUBLIC_URL)"] }),
    });
    work.commit("smoke test");
    work.git("push", "-q");
    const summary = join(work.folder, "../summary.md");
    const github = { CI: "true", GITHUB_ACTIONS: "true", GITHUB_STEP_SUMMARY: summary };
    const good = await ship(["--json"], github);
    if (process.env.SHIP_OUTPUT) await writeFile(`${process.env.SHIP_OUTPUT}-ci.txt`, good.stderr);
    expect(good.code, good.stderr).toBe(0);
    expect(good.stderr.match(/^::group::\w+$/gm)).toEqual(
      ["requires", "build", "push", "release", "smoke"].map((stage) => `::group::${stage}`),
    );
    expect(good.stderr).not.toContain("\u001b");
    expect(JSON.parse(good.stdout)).toMatchObject({
      command: "ship",
      outcome: "live",
      exitCode: 0,
      release: { version: "v2" },
    });

    await work.write({
      "sluice.yaml": manifest({ smokeTest: ["node", "-e", "console.log('::error::x'); process.exit(7)"] }),
    });
    const sha = work.commit("a bad day");
    work.git("push", "-q");
    const bad = await ship(["--json"], github);
    expect(bad.code, bad.stderr).toBe(3);
    expect(bad.stderr).not.toMatch(/^::error::x/m);
    expect(bad.stderr).toMatch(/^::error file=sluice\.yaml,line=\d+,title=smoke test failed::v3: /m);
    const { environment } = await sluice.client.environments.get("hello", "production");
    expect(environment.split).toMatchObject([{ version: "v2", weight: 100 }]);
    // As it is after that, not as it was when it was looked at.
    expect(JSON.parse(bad.stdout).release).toMatchObject({ version: "v3", weight: 0 });
    expect(JSON.parse(bad.stdout).release.state).not.toBe("live");
    const text = await readFile(summary, "utf8");
    expect(text).toContain("| smoke | failed |");
    expect(text).toContain(`${registry.address}/acme/hello@sha256:`);
    expect(sha).toMatch(/^[0-9a-f]{40}$/);
  },
);

/** The line to control: counts what goes over it, and says when a part of an image has arrived. */
async function countedLine(onPart: () => void = () => {}) {
  let sent = 0;
  const { hostname, port } = new URL(sluice.controlUrl);
  const server = net.createServer((client) => {
    const control = net.connect(Number(port), hostname);
    client.on("data", (chunk) => {
      sent += chunk.length;
    });
    control.on("data", (chunk) => {
      if (chunk.includes("HTTP/1.1 204")) onPart();
    });
    client.pipe(control).pipe(client);
    client.on("error", () => control.destroy());
    control.on("error", () => client.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    get sent() {
      return sent;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

dockerTest(
  "130 MB reach two hosts without a registry: cut short they go on, and what is there stays",
  async () => {
    const { image: _, ...rest } = parse(manifest({ replicas: 2 })) as { image: string };
    await work.write({
      "sluice.yaml": stringify({ ...rest, app: "boat" }).replace("hello.localhost", "boat.localhost"),
    });
    work.commit("without a registry");
    work.git("push", "-q");
    const killed = new AbortController();
    await using first = await countedLine(() => killed.abort());
    expect((await ship(["--json"], {}, { url: first.url, kill: killed.signal })).code).toBe(null);

    await using second = await countedLine();
    const whole = await ship(["--json"], {}, { url: second.url });
    expect(whole.code, whole.stderr).toBe(0);
    const { items } = await sluice.client.installation.audit({ limit: 200 });
    const bytes = Number(items.find(({ type }) => type === "image.shipped")?.data.bytes);
    expect(bytes).toBeGreaterThan(20e6);
    // A part had arrived before it was killed: one of 16 MiB, or the last one of a layer, of more than 14 MB.
    expect(second.sent).toBeLessThan(bytes - 12e6);
    expect(JSON.parse(whole.stdout)).toMatchObject({
      outcome: "live",
      release: { image: expect.stringMatching(/^sluice\.local\/boat@sha256:/) },
    });
    const { environment } = await sluice.client.environments.get("boat", "production");
    expect(new Set(environment.instances.map(({ host }) => host))).toEqual(new Set(["web-1", "web-2"]));

    await work.write({ "package.json": '{ "type": "module", "description": "changed" }\n' });
    work.commit("one file");
    work.git("push", "-q");
    await using third = await countedLine();
    const dry = await ship(["--dry-run"], {}, { url: third.url });
    expect(dry.code, dry.stdout + dry.stderr).toBe(0);
    expect(dry.stdout).toContain("what control lacks of the image");
    const next = await ship(["--json"], {}, { url: third.url });
    expect(next.code, next.stderr).toBe(0);
    expect(JSON.parse(next.stdout).release.image).not.toBe(JSON.parse(whole.stdout).release.image);
    if (process.env.SHIP_OUTPUT)
      await writeFile(
        `${process.env.SHIP_OUTPUT}-to-hosts.txt`,
        `${whole.stderr}\n${third.sent} bytes\n${next.stderr}`,
      );
    expect(third.sent).toBeLessThan(100_000);
    // And back to what is kept: its host fetches it where it is gone.
    expect((await sluice.sluice("boat", {}, ["rollback"])).code).toBe(0);
  },
);
