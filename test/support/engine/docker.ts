import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "vitest";
import { type Engine, EngineError } from "../../../agent/runtime/docker/engine.ts";
import { authHeader } from "../../../agent/runtime/docker/registry-auth.ts";
import { findEngine, removeImages } from "../../../local/images.ts";

const REGISTRY = "/usr/bin/docker-registry";
const found = await findEngine();
const isRequired = process.env.SLUICE_TEST_DOCKER === "required";

/** Why Docker tests skip themselves. Said by one test file, so that a run says it once. */
export const missingEngine = "engine" in found ? undefined : `Docker tests need an engine: ${found.reason}`;
if (missingEngine && isRequired) throw new Error(missingEngine);

/** Whether {@link startRegistry} can work here. */
export const hasRegistry = existsSync(REGISTRY);
if (!hasRegistry && isRequired) throw new Error(`Docker tests need ${REGISTRY}: install docker-registry`);

/** The engine of this machine; absent when none answers, and then {@link dockerTest} skips. */
export const engine: Engine | undefined = "engine" in found ? found.engine : undefined;

/** For tests that need the engine: they fail without one under SLUICE_TEST_DOCKER=required, else they skip. */
export const dockerTest = test.skipIf(!engine);

/** The engine, for code that only runs when there is one. */
export function theEngine(): Engine {
  if (!engine) throw new Error("no Docker engine: use dockerTest");
  return engine;
}

/** Takes a network of a test's own away: an engine has address ranges for some thirty of them, and all tests share one engine. */
export async function removeNetwork(name: string): Promise<void> {
  try {
    await engine?.bytes("DELETE", `/networks/${name}`);
  } catch (thrown) {
    if (!(thrown instanceof EngineError && thrown.status === 404)) throw thrown;
  }
}

/** A port nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export interface Registry {
  /** `127.0.0.1:5123`; loopback registries need no TLS. */
  address: string;
  /** Pushes a local image as `<address>/<name>` and answers its digest. */
  push(image: string, name: string): Promise<string>;
  close(): Promise<void>;
}

/** The only one that a registry `for: "members"` lets in. The hash is what `htpasswd -nbB` makes of the password. */
export const MEMBER = { username: "deployer", password: "s3cret-for-loopback" };
const MEMBERS = "deployer:$2y$05$uZ4yHjEoLWTIhLM1OWLBGeQpErE/TO23z4CxI32DkFXmzisjNHUHO\n";

/** Starts a registry on a free loopback port, with storage of its own that goes with it. */
export async function startRegistry(opened: { for: "all" | "members" } = { for: "all" }): Promise<Registry> {
  const port = await freePort();
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-registry-"));
  const config = path.join(directory, "config.yml");
  const members = path.join(directory, "htpasswd");
  await writeFile(members, MEMBERS);
  await writeFile(
    config,
    [
      "version: 0.1",
      "log: { level: error, accesslog: { disabled: true } }",
      `storage: { filesystem: { rootdirectory: ${directory}/data } }`,
      `http: { addr: 127.0.0.1:${port} }`,
      ...(opened.for === "members" ? [`auth: { htpasswd: { realm: sluice, path: ${members} } }`] : []),
      "",
    ].join("\n"),
  );
  const child = spawn(REGISTRY, ["serve", config], { stdio: "ignore" });
  const address = `127.0.0.1:${port}`;
  await answering(`http://${address}/v2/`, child);
  const pushed: string[] = [];
  return {
    address,
    async push(image, name) {
      const target = `${address}/${name}`;
      pushed.push(target);
      return pushImage(theEngine(), image, target, opened.for === "members" ? MEMBER : {});
    },
    async close() {
      await removeImages(theEngine(), pushed);
      child.kill();
      await once(child, "exit");
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function answering(url: string, child: ChildProcess): Promise<void> {
  const until = Date.now() + 10_000;
  while (Date.now() < until && child.exitCode === null) {
    // Refused until it listens.
    if (
      await fetch(url)
        .then((response) => response.ok || response.status === 401)
        .catch(() => false)
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${REGISTRY} did not answer at ${url} within 10 s`);
}

async function pushImage(docker: Engine, image: string, target: string, login: object): Promise<string> {
  const colon = target.lastIndexOf(":");
  const query = { repo: target.slice(0, colon), tag: target.slice(colon + 1) };
  await docker.bytes("POST", `/images/${encodeURIComponent(image)}/tag`, { query });
  let digest: string | undefined;
  const lines = docker.messages("POST", `/images/${query.repo}/push`, {
    query: { tag: query.tag },
    // The engine wants the header even where nobody logs in.
    headers: { "x-registry-auth": authHeader(login) },
  });
  for await (const line of lines) {
    const text = JSON.stringify(line);
    if (text.includes('"error"')) throw new Error(`pushing ${target} failed: ${text}`);
    digest ??= /digest: (sha256:[0-9a-f]{64})/.exec(text)?.[1];
  }
  if (!digest) throw new Error(`pushing ${target} named no digest`);
  return digest;
}
