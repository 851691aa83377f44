import { readFileSync, realpathSync } from "node:fs";
import { dirname, relative, resolve, sep } from "node:path";
import { type Manifest, type ManifestError, parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { findUp } from "../config.ts";
import { fillManifest, type Lack } from "./fill-manifest.ts";
import { CliError } from "./problem.ts";

export interface ManifestFile {
  /** As a person in the working directory would write it. */
  readonly path: string;
  /** What control is to get: with what the file takes from outside. */
  readonly text: string;
  readonly manifest: Manifest;
  /** What that lacks; a command that sends it refuses, one that only looks at names doesn't care. */
  readonly lacking: readonly Lack[];
  /** Its image is filled in from outside: each deploy may have another. */
  readonly takesImage: boolean;
}

/** The named file, else `sluice.yaml` here or above; undefined if none was named and none is there. */
export function findManifest(file: string | undefined, cwd: string): string | undefined {
  return file === undefined ? findUp("sluice.yaml", cwd) : resolve(cwd, file);
}

type Env = Readonly<Record<string, string | undefined>>;

/** Reads and checks a manifest before anything is sent. Throws CliError `no_manifest`, `manifest_invalid`, `not_landed`. */
export function readManifest(file: string, cwd: string, env: Env): ManifestFile {
  const near = relative(cwd, file);
  const path = near.startsWith("../../") ? file : near;
  const { text, lacking, filled } = fillManifest(readText(file, path), {
    env,
    read: (name) => readBeside(file, name),
  });
  const parsed = parseManifest(text);
  if (parsed.ok)
    return { path, text, manifest: parsed.manifest, lacking, takesImage: filled.includes("image") };
  throw manifestProblem(path, parsed.errors);
}

/** The text to be sent. Throws CliError `manifest_invalid` when something of it is not there. */
export function wholeText({ path, text, lacking }: ManifestFile): string {
  if (lacking.length === 0) return text;
  throw manifestProblem(
    path,
    lacking.map(({ detail, ...place }) => ({
      ...place,
      code: "invalid",
      detail: `\`${place.pointer}\` ${detail}`,
    })),
  );
}

/** Only what lies under the manifest's own folder: a checkout is not to send what else is on this machine. */
function readBeside(file: string, name: string): { text: string } | { problem: string } {
  try {
    const folder = realpathSync(dirname(file));
    const found = realpathSync(resolve(folder, name));
    if (!found.startsWith(folder + sep))
      return { problem: `is to be read from ${name}, which lies outside ${folder}` };
    return { text: readFileSync(found, "utf8") };
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return { problem: `is to be read from ${name}, which can't be: ${reason}` };
  }
}

function readText(file: string, path: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new CliError("no_manifest", `can't read ${path}: ${reason}`, {
      next: [{ command: "sluice apply -f <file>", when: "it is elsewhere" }],
    });
  }
}

function manifestProblem(path: string, errors: readonly ManifestError[]): CliError {
  const code = errors.every((error) => error.code === "not_landed") ? "not_landed" : "manifest_invalid";
  const count = errors.at(-1)?.code === "more" ? "many" : errors.length;
  const things = errors.length === 1 ? "one thing is" : `${count} things are`;
  return new CliError(code, `${things} wrong in ${path}`, {
    title: code === "not_landed" ? "not available yet" : "the manifest is not valid",
    errors: errors.map(({ pointer, detail, line, column }) => ({
      pointer,
      detail,
      ...(line === undefined ? {} : { line }),
      ...(column === undefined ? {} : { column }),
    })),
  });
}

/** The command once more: with the file, and with the app's name where that is enough. */
export const noManifest = ([withFile, withApp]: [withFile: string, withApp?: string]) =>
  new CliError("no_manifest", "no sluice.yaml here or in a folder above", {
    title: "which app?",
    next: [
      ...(withApp === undefined ? [] : [{ command: withApp, when: "you know its name" }]),
      { command: withFile, when: "the manifest is elsewhere" },
    ],
  });
