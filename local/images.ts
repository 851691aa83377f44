import { execFile, spawn } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { createEngine, type Engine, EngineError } from "../agent/runtime/docker/engine.ts";

/**
 * Images made from what lies on this machine, so that the demo and the tests need no registry: a base image with Node's
 * own binary and its libraries, and the hello app built on it from its own Dockerfile.
 */
const run = promisify(execFile);

const BUILD_WITHIN_MS = 120_000;
const HELLO = path.resolve(import.meta.dirname, "../examples/hello");
/** Marks what was made here, so that it can be found and removed. */
const MADE_LABEL = "sluice.made";

/** Whether an engine answers at DOCKER_HOST or the local socket; its words when none does. */
export async function findEngine(): Promise<{ engine: Engine } | { reason: string }> {
  try {
    const engine = createEngine();
    await engine.bytes("GET", "/_ping", { signal: AbortSignal.timeout(5_000) });
    return { engine };
  } catch (thrown) {
    return { reason: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

/**
 * Tag of a base image with Node on it, made once per Node version. Elsewhere than on Linux this machine's Node is no use in
 * a container, so the Dockerfile's own default is answered, which the engine pulls.
 */
export async function baseImage(engine: Engine): Promise<string> {
  if (process.platform !== "linux") return "node:24-alpine";
  const tag = `sluice-base:node-${process.versions.node}`;
  if (await imageExists(engine, tag)) return tag;
  const root = await mkdtemp(path.join(tmpdir(), "sluice-base-"));
  try {
    await fillRoot(root);
    await importRoot(engine, root, tag);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  return tag;
}

export interface HelloImage {
  /** Tag of the image; its name without a tag is `hello`. */
  tag: string;
  /** Variables baked into the image, to make versions differ. */
  env?: Record<string, string>;
}

/** Builds examples/hello from its Dockerfile and tags it. Answers the image id. */
export async function helloImage(engine: Engine, { tag, env = {} }: HelloImage): Promise<string> {
  const base = await baseImage(engine);
  await build(engine, { directory: HELLO, tag, args: { BASE: base } });
  return variantImage(engine, { from: tag, tag, env });
}

export interface Variant {
  from: string;
  tag: string;
  env?: Record<string, string>;
  /** More lines for the Dockerfile, e.g. another CMD. */
  lines?: string[];
}

/** An image that differs from another by variables or instructions. Answers the image id. */
export async function variantImage(
  engine: Engine,
  { from, tag, env = {}, lines = [] }: Variant,
): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-variant-"));
  try {
    const variables = Object.entries(env).map(([name, value]) => `ENV ${name}=${JSON.stringify(value)}`);
    // The tag is part of the image, so that two versions with the same content are two images.
    const label = `LABEL ${MADE_LABEL}=${JSON.stringify(tag)}`;
    const dockerfile = [`FROM ${from}`, label, ...variables, ...lines, ""].join("\n");
    await writeFile(path.join(directory, "Dockerfile"), dockerfile);
    await build(engine, { directory, tag });
    return await imageId(engine, tag);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Takes tags away, and the images with their last tag. One that is not there, or is in use, is left. */
export async function removeImages(engine: Engine, tags: string[]): Promise<void> {
  for (const tag of tags) {
    try {
      await engine.bytes("DELETE", `/images/${encodeURIComponent(tag)}`);
    } catch (thrown) {
      if (!(thrown instanceof EngineError && [404, 409].includes(thrown.status))) throw thrown;
    }
  }
}

const inspectSchema = z.object({ Id: z.string() });

async function imageId(engine: Engine, image: string): Promise<string> {
  return (await engine.json(inspectSchema, "GET", `/images/${encodeURIComponent(image)}/json`)).Id;
}

async function imageExists(engine: Engine, image: string): Promise<boolean> {
  try {
    await imageId(engine, image);
    return true;
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return false;
    throw thrown;
  }
}

/** A root file system that runs Node and a shell, and has the `node` user the official images have. */
async function fillRoot(root: string): Promise<void> {
  for (const directory of ["etc", "tmp", "proc", "sys", "dev", "home/node", "usr/local/bin", "bin"]) {
    await mkdir(path.join(root, directory), { recursive: true });
  }
  // The directory came with mode 0700, and would be the "/" nobody but root may enter.
  await chmod(root, 0o755);
  await chmod(path.join(root, "tmp"), 0o1777);
  await writeFile(
    path.join(root, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n",
  );
  await writeFile(path.join(root, "etc/group"), "root:x:0:\nnode:x:1000:\n");
  await cp(await realpath(process.execPath), path.join(root, "usr/local/bin/node"));
  await cp(await realpath("/bin/sh"), path.join(root, "bin/sh"));
  const libraries = new Set([...(await librariesOf(process.execPath)), ...(await librariesOf("/bin/sh"))]);
  for (const library of libraries) {
    await mkdir(path.join(root, path.dirname(library)), { recursive: true });
    await cp(library, path.join(root, library), { dereference: true });
  }
}

async function librariesOf(binary: string): Promise<string[]> {
  const { stdout } = await run("ldd", [binary], { timeout: 10_000 });
  return stdout.match(/\/\S+\.so\S*/g) ?? [];
}

async function importRoot(engine: Engine, root: string, tag: string): Promise<void> {
  const [repo = "", version = "latest"] = tag.split(":");
  const changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV HOME=/tmp", 'CMD ["node"]'];
  const query = new URLSearchParams({ fromSrc: "-", repo, tag: version });
  for (const change of changes) query.append("changes", change);
  await finish(engine, `/images/create?${query}`, root);
  if (!(await imageExists(engine, tag))) throw new Error(`the engine imported ${tag}, but does not have it`);
}

interface Build {
  directory: string;
  tag: string;
  args?: Record<string, string>;
}

/** Builds a directory with its Dockerfile by the classic builder. Throws with the engine's words. */
export async function build(engine: Engine, { directory, tag, args = {} }: Build): Promise<void> {
  // The classic builder: it needs no BuildKit session, hence nothing from outside.
  const query = new URLSearchParams({
    t: tag,
    buildargs: JSON.stringify(args),
    rm: "1",
    forcerm: "1",
    version: "1",
  });
  await finish(engine, `/build?${query}`, directory);
}

/** Sends a directory as a tar archive and follows the engine's messages to their end. Throws with its words. */
async function finish(engine: Engine, target: string, directory: string): Promise<void> {
  // tar is on every machine that has a Docker engine; owners are root, as in an image.
  const tar = spawn("tar", ["-c", "--owner=0", "--group=0", "--numeric-owner", "-C", directory, "."], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said: string[] = [];
  const signal = AbortSignal.timeout(BUILD_WITHIN_MS);
  for await (const line of engine.messages("POST", target, { tar: tar.stdout, signal })) {
    const { stream, error } = messageSchema.parse(line);
    if (stream?.trim()) said.push(stream.trim());
    if (error) throw new Error(`${error}\n${said.slice(-20).join("\n")}`);
  }
}

const messageSchema = z.object({ stream: z.string().optional(), error: z.string().optional() });
