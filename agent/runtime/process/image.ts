import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, realpath } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import type { PulledImage } from "../runtime.ts";

const SCHEME = "file:";
/** Not what the app is, but what it was given: installed, or history. */
const NOT_CONTENT = new Set(["node_modules", ".git"]);

/**
 * The real directory behind `file:<dir>`. Control names the directory, so whoever may deploy could otherwise run any
 * program of this host: only what lies under the process root is answered, links resolved.
 */
export async function resolveDirectory(root: string, image: string): Promise<Outcome<string>> {
  if (!image.startsWith(SCHEME)) {
    return failed("image_not_found", `${image} is not for the process runtime: it runs file:<directory>`);
  }
  try {
    const realRoot = await realpath(root);
    const directory = await realpath(path.resolve(realRoot, image.slice(SCHEME.length)));
    const inside = path.relative(realRoot, directory);
    if (inside === ".." || inside.startsWith(`..${path.sep}`) || path.isAbsolute(inside)) {
      return failed("image_not_found", `${image} lies outside this agent's process root ${realRoot}`);
    }
    return done(directory);
  } catch (thrown) {
    return failed("image_not_found", `${image} can't be opened under ${root}: ${words(thrown)}`);
  }
}

/** Pins a directory by the sha256 of its files: names and content, not times. */
export async function pullDirectory(root: string, image: string): Promise<Outcome<PulledImage>> {
  const resolved = await resolveDirectory(root, image);
  if (!resolved.ok) return resolved;
  try {
    const digest = `sha256:${await hashDirectory(resolved.value)}`;
    return done({ image: `${SCHEME}${resolved.value}`, digest });
  } catch (thrown) {
    return failed("image_pull_failed", `${image} can't be read: ${words(thrown)}`);
  }
}

async function hashDirectory(root: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of await filesOf(root)) {
    const content = createHash("sha256");
    await pipeline(createReadStream(path.join(root, name)), content);
    hash.update(`${name}\0${content.digest("hex")}\n`);
  }
  return hash.digest("hex");
}

async function filesOf(root: string): Promise<string[]> {
  const names: string[] = [];
  const walk = async (directory: string): Promise<void> => {
    for (const entry of await readdir(path.join(root, directory), { withFileTypes: true })) {
      if (NOT_CONTENT.has(entry.name)) continue;
      const name = path.join(directory, entry.name);
      if (entry.isDirectory()) await walk(name);
      else if (entry.isFile()) names.push(name);
    }
  };
  await walk("");
  return names.sort();
}

const packageSchema = z.object({
  main: z.string().optional(),
  scripts: z.record(z.string(), z.string()).default({}),
});

/**
 * What `npm start` would run, without npm: an npm between agent and app would swallow signals and cost 60 MB.
 * `node …` runs on the agent's own Node. A start script that needs a shell is left to npm.
 */
export async function commandOf(directory: string): Promise<Outcome<string[]>> {
  try {
    const text = await readFile(path.join(directory, "package.json"), "utf8");
    const { main, scripts } = packageSchema.parse(JSON.parse(text));
    const words = scripts.start?.trim().split(/\s+/) ?? [];
    if (words[0] === "node" && !/["'$`&|;<>*?(){}\\]/.test(scripts.start ?? "")) {
      return done([process.execPath, ...words.slice(1)]);
    }
    if (scripts.start) return done(["npm", "start", "--silent"]);
    return done([process.execPath, main ?? "index.js"]);
  } catch (thrown) {
    return failed(
      "start_failed",
      `${directory} has no readable package.json (${words(thrown)}): give it one with a start script, or set a command`,
    );
  }
}
