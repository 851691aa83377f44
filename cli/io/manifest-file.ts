import { readFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { type Manifest, type ManifestError, parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { findUp } from "../config.ts";
import { CliError } from "./problem.ts";

export interface ManifestFile {
  /** As a person in the working directory would write it. */
  readonly path: string;
  readonly text: string;
  readonly manifest: Manifest;
}

/** The named file, else `sluice.yaml` here or above; undefined if none was named and none is there. */
export function findManifest(file: string | undefined, cwd: string): string | undefined {
  return file === undefined ? findUp("sluice.yaml", cwd) : resolve(cwd, file);
}

/** Reads and checks a manifest before anything is sent. Throws CliError `no_manifest`, `manifest_invalid`, `not_landed`. */
export function readManifest(file: string, cwd: string): ManifestFile {
  const near = relative(cwd, file);
  const path = near.startsWith("../../") ? file : near;
  const text = readText(file, path);
  const parsed = parseManifest(text);
  if (parsed.ok) return { path, text, manifest: parsed.manifest };
  throw manifestProblem(path, parsed.errors);
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

export const noManifest = () =>
  new CliError("no_manifest", "no sluice.yaml here or in a folder above", {
    title: "which app?",
    next: [
      { command: "sluice status -a <app> -e <environment>", when: "you know its name" },
      { command: "sluice apply -f <file>", when: "the manifest is elsewhere" },
    ],
  });
