import { lstat, readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import type { ManifestError } from "../../src/protocol/manifest/errors.ts";
import { words } from "../outcome.ts";
import { DEFAULT_CAPABILITIES, NEVER_CAPABILITIES } from "./capabilities.ts";
import { nestedPatterns, realPattern } from "./host-paths.ts";
import { patternProblem } from "./images.ts";
import { trustProblem } from "./trusted-file.ts";

/** Where a host's policy is looked for. `isRequired`: it was named, so that one that is missing is one that is broken. */
export interface PolicySource {
  file: string;
  isRequired: boolean;
}

/** What was read: rules, nothing because there is no file, or why it can't be gone by. */
export type PolicyFile =
  | { kind: "none" }
  | { kind: "broken"; problem: string }
  | { kind: "rules"; rules: PolicyRules };

const UNITS: Record<string, number> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const SIZE = "must be a size such as 512m or 2g";
const sizeSchema = z
  .string({ error: SIZE })
  .regex(/^\d+[kmg]$/i, SIZE)
  .transform((text) => Number.parseInt(text, 10) * (UNITS[text.slice(-1).toLowerCase()] ?? 1));

const imageSchema = z.string().superRefine((pattern, context) => {
  const problem = patternProblem(pattern);
  if (problem) context.addIssue({ code: "custom", message: problem });
});
const directorySchema = z
  .string()
  .startsWith("/", "must be an absolute path, such as /srv/shop/*")
  .refine((pattern) => !pattern.split("/").includes(".."), "must not contain `..`")
  .refine(
    (pattern) => !pattern.includes("**"),
    "must not contain `**`: name each level, such as /srv/*/uploads",
  )
  .refine((pattern) => !/^\/+\*/.test(pattern), "must name at least the first directory");
const capabilitySchema = z
  .string()
  .regex(/^(?!CAP_)[A-Z][A-Z_]+$/, "must be a capability without CAP_, such as NET_RAW")
  .refine((name) => !NEVER_CAPABILITIES.has(name), "is never given to any container");

/** The narrower answer is every key's default, but for limits: a file that is there is meant to restrict. */
const rulesSchema = z.strictObject({
  images: z.array(imageSchema, { error: "must list the images this host may run, such as [ghcr.io/acme/*]" }),
  volumes: z
    .strictObject({ named: z.boolean().default(true), directories: z.array(directorySchema).default([]) })
    .default({ named: true, directories: [] }),
  limits: z
    .strictObject({
      /** Of one container. */
      cpus: z.number().positive().optional(),
      memory: sizeSchema.optional(),
      /** Every container must say how much of both it takes, even where there is no limit to it. */
      required: z.boolean().default(false),
      instances: z.number().int().nonnegative().optional(),
    })
    .default({ required: false }),
  capabilities: z.array(capabilitySchema).default(DEFAULT_CAPABILITIES),
  networks: z.boolean().default(true),
  hooks: z.boolean().default(true),
  /** What people run by hand (`sluice run`). */
  commands: z.boolean().default(true),
  accessories: z.boolean().default(true),
});
export type PolicyRules = z.infer<typeof rulesSchema>;

/** Reads a policy. Whatever is wrong with it is an answer, with its line: never that there is none. */
export async function readPolicy({ file, isRequired }: PolicySource): Promise<PolicyFile> {
  try {
    const problem = await trustProblem(file);
    return problem ? { kind: "broken", problem } : await parsePolicy(await readFile(file, "utf8"));
  } catch (thrown) {
    const isMissing = thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
    if (!isMissing || isRequired) return { kind: "broken", problem: words(thrown) };
    const meant = await meantFile(file);
    return meant === undefined ? { kind: "none" } : { kind: "broken", problem: meant };
  }
}

/** Only hosts that have a policy pay for the parser. */
async function parsePolicy(text: string): Promise<PolicyFile> {
  const { readSource, schemaErrors, yamlErrors } = await import("../../src/protocol/manifest/errors.ts");
  const source = readSource(text);
  const objections = yamlErrors(source);
  if (objections.length > 0) return broken(objections);
  const parsed = rulesSchema.safeParse(source.document.toJS() ?? {});
  if (parsed.success) return rulesOf(parsed.data);
  const grammar = { schema: rulesSchema, notLanded: new Set<string>(), named: "the policy" };
  return broken(schemaErrors(parsed.error.issues, source, grammar));
}

const broken = (errors: readonly ManifestError[]): PolicyFile => ({
  kind: "broken",
  problem: errors.map(({ line, detail }) => (line ? `line ${line}: ${detail}` : detail)).join("; "),
});

/** A policy that is missing, but for a slip of whoever wrote one: a link to nothing, another ending. */
async function meantFile(file: string): Promise<string | undefined> {
  const directory = path.dirname(path.resolve(file));
  for (const place of [file, directory]) {
    const isLink = await lstat(place).then(
      (found) => found.isSymbolicLink(),
      () => false,
    ); // not there at all
    if (isLink && !(await stat(place).catch(() => undefined))) return `${place} is a link to nothing`;
  }
  const names = await readdir(directory).catch(() => []); // no directory, no slip in it
  const meant = names.find((name) => /^polic(?:y|ies)\.(?:ya?ml|json)$/i.test(name));
  return (
    meant && `it is not there, but ${path.join(directory, meant)} is: rename that to ${path.basename(file)}`
  );
}

/** Directories are compared as they really are, on both sides. */
async function rulesOf(rules: PolicyRules): Promise<PolicyFile> {
  const directories = await Promise.all(rules.volumes.directories.map(realPattern));
  const nested = nestedPatterns(directories);
  if (nested) {
    const [upper, lower] = nested;
    const problem = `volumes.directories: ${lower} may lie beneath ${upper}: an app that may write the one could put a link in the other's place. List only one of them`;
    return { kind: "broken", problem };
  }
  return { kind: "rules", rules: { ...rules, volumes: { ...rules.volumes, directories } } };
}
