import { type Document, isAlias, isMap, isScalar, isSeq, type YAMLMap } from "yaml";
import { z } from "zod";
import { stepsOf } from "../../domain/rollout/steps.ts";
import { SHIPPED } from "../images.ts";
import { buildSchema } from "./build.ts";
import {
  accessoriesSchema,
  containerSchema,
  loggingSchema,
  refuseBoth,
  resourcesSchema,
  secretNamesSchema,
  volumesSchema,
} from "./container.ts";
import { environmentSchema } from "./environment.ts";
import { type ManifestError, readSource, schemaErrors, yamlErrors } from "./errors.ts";
import { healthSchema } from "./health.ts";
import { refuseImpossiblePreviews, refusePreviewNames } from "./previews.ts";
import { processesSchema, refuseUnknownProcesses } from "./processes.ts";
import { commandSchema, durationSchema, envSchema, IMAGE, NAME, NAME_RULE, path } from "./scalars.ts";
import { toStrategy } from "./strategy.ts";
import { verifySchema } from "./verify.ts";

export type { ManifestError } from "./errors.ts";

/**
 * `sluice.yaml`. A key whose feature is not in this version is refused by name, never ignored: a manifest that looks
 * applied but isn't is how a team finds out on a Friday that its smoke checks never ran.
 */
const NOT_LANDED = new Set(["environments.*.notify"]);

/** A hostname leads to one environment. Those of other apps are control's to know. */
function refuseSharedHostnames(
  environments: Record<string, { hostnames: string[] }>,
  context: z.RefinementCtx,
): void {
  const owner = new Map<string, string>();
  for (const [name, { hostnames }] of Object.entries(environments))
    for (const hostname of hostnames) {
      const first = owner.get(hostname) ?? name;
      owner.set(hostname, first);
      if (first === name) continue;
      const message = `has \`${hostname}\`, which environment \`${first}\` has already`;
      context.addIssue({ code: "custom", path: [name, "hostnames"], message });
    }
}

/** A rule that never asks would look like one that does. */
function refuseRulesWithoutPauses(
  environments: Record<string, Pick<z.infer<typeof environmentSchema>, "approval" | "strategy">>,
  context: z.RefinementCtx,
): void {
  for (const [name, { approval, strategy }] of Object.entries(environments)) {
    if (approval?.before !== "step") continue;
    const steps = stepsOf({ strategy: toStrategy(strategy) });
    if (steps.some((step) => step.kind === "pause" && step.forMs === null)) continue;
    const message =
      "asks at each `pause: {}` of a canary, and `strategy` has none: add one, or say `traffic`";
    context.addIssue({ code: "custom", path: [name, "approval", "before"], message });
  }
}

/** An app's variables are its manifest's and its environment's together: each has one value, plain or secret. */
function refuseNamedTwice(
  manifest: {
    env: Record<string, string>;
    secrets: string[];
    environments: Record<string, { env: Record<string, string>; secrets: string[] }>;
  },
  context: z.RefinementCtx,
): void {
  refuseBoth(manifest, context);
  for (const [name, { env, secrets }] of Object.entries(manifest.environments)) {
    refuseBoth({ env: { ...manifest.env, ...env }, secrets }, context, ["environments", name]);
    for (const secret of manifest.secrets.filter((one) => Object.hasOwn(env, one))) {
      const message = "stands in the manifest's `secrets` too: keep one of the two";
      context.addIssue({ code: "custom", path: ["environments", name, "env", secret], message });
    }
  }
}

/** Said of the name alone, so that what stands under it is looked at as well. */
function refuseBadNames(environments: Record<string, unknown>, context: z.RefinementCtx): void {
  for (const name of Object.keys(environments))
    if (!NAME.test(name))
      context.addIssue({ code: "custom", path: [name], message: `has a name that ${NAME_RULE}` });
}

/** Variables that Sluice sets itself: a value that stands here would be overridden without a word. */
function refuseReserved(
  manifest: { env: Record<string, string>; environments: Record<string, { env: Record<string, string> }> },
  context: z.RefinementCtx,
): void {
  const scopes = Object.entries(manifest.environments).map(([name, { env }]) => ({
    env,
    path: ["environments", name, "env"],
  }));
  for (const { env, path } of [{ env: manifest.env, path: ["env"] }, ...scopes])
    for (const name of Object.keys(env)) {
      if (name === "PORT")
        context.addIssue({
          code: "custom",
          path: [...path, name],
          message: "is set from `port`: write it there",
        });
      if (name.startsWith("SLUICE_"))
        context.addIssue({
          code: "custom",
          path: [...path, name],
          message: "is a variable that Sluice sets itself",
        });
    }
}

/** What names an accessory names one that there is. */
function refuseStrangers(
  {
    accessories,
    needs,
    environments,
  }: {
    accessories: Record<string, unknown>;
    needs: string[];
    environments: Record<string, { accessories: Record<string, unknown> }>;
  },
  context: z.RefinementCtx,
): void {
  const refuse = (path: PropertyKey[], name: string) =>
    context.addIssue({ code: "custom", path, message: `names \`${name}\`, which is not in \`accessories\`` });
  const isStranger = (name: string) => !Object.hasOwn(accessories, name);
  for (const [index, name] of needs.entries()) if (isStranger(name)) refuse(["needs", index], name);
  for (const [environment, { accessories: own }] of Object.entries(environments))
    for (const name of Object.keys(own).filter(isStranger))
      refuse(["environments", environment, "accessories", name], name);
}

const smokeSchema = z.strictObject({
  path,
  status: z.number().int().min(100).max(599).default(200),
  contains: z.string().min(1).optional(),
});

export const manifestSchema = z
  .strictObject({
    $schema: z.string().optional(),
    app: z.string().regex(NAME, NAME_RULE),
    verify: verifySchema.optional(),
    image: z
      .string()
      .max(500)
      .regex(IMAGE, "must be an image such as ghcr.io/acme/shop, or file:<directory> for the process runtime")
      .optional(),
    build: buildSchema.optional(),
    port: z.number().int().min(1).max(65_535),
    command: commandSchema.optional(),
    health: healthSchema,
    resources: resourcesSchema,
    logging: loggingSchema,
    container: containerSchema.default({ readOnly: false, tmpfs: [], ulimits: {} }),
    volumes: volumesSchema,
    secrets: secretNamesSchema,
    env: envSchema.default({}),
    hooks: z
      .strictObject({ expand: commandSchema.optional(), contract: commandSchema.optional() })
      .default({}),
    look: z.enum(["fail", "warn", "off"], { error: "must be fail, warn or off" }).default("fail"),
    smoke: z.array(smokeSchema).max(20).default([]),
    drain: durationSchema.default(30_000),
    stopGrace: durationSchema.default(30_000),
    accessories: accessoriesSchema,
    processes: processesSchema,
    /** Accessories that have to be healthy before an instance starts. */
    needs: z.array(z.string()).max(20).default([]),
    environments: z
      .record(z.string(), environmentSchema)
      .superRefine(refuseBadNames)
      .superRefine(refusePreviewNames)
      .refine((environments) => Object.keys(environments).length > 0, "must have at least one environment")
      .refine((environments) => Object.keys(environments).length <= 100, "must have at most 100 environments")
      .superRefine(refuseSharedHostnames)
      .superRefine(refuseRulesWithoutPauses),
  })
  .superRefine(refuseNamedTwice)
  .superRefine(refuseReserved)
  .superRefine(refuseStrangers)
  .superRefine(refuseUnknownProcesses)
  .superRefine(refuseImpossiblePreviews);
/** Without an `image` it is in no registry: what `sluice ship` builds goes to control, and from there to hosts. */
export type Manifest = z.infer<typeof manifestSchema> & { readonly image: string };

export type ParsedManifest =
  | { readonly ok: true; readonly manifest: Manifest }
  | { readonly ok: false; readonly errors: readonly ManifestError[] };

/** Parses a manifest's text (YAML, so JSON too). All errors at once, in the order of the file. Never throws. */
export function parseManifest(text: string): ParsedManifest {
  try {
    return parse(text);
  } catch (error) {
    // Aliases that multiply, nesting without end: the YAML library gives up by throwing.
    const detail = `it can't be read as YAML: ${error instanceof Error ? error.message : String(error)}`;
    return { ok: false, errors: [{ code: "syntax", pointer: "", detail }] };
  }
}

function parse(text: string): ParsedManifest {
  const tooLong = lengthError(text);
  if (tooLong) return { ok: false, errors: [tooLong] };
  const source = readSource(text);
  const objections = yamlErrors(source);
  if (objections.length > 0) return { ok: false, errors: objections };
  keepEnvironmentText(source.document);
  const parsed = manifestSchema.safeParse(withoutExtensions(source.document.toJS() ?? {}));
  if (parsed.success) {
    const { image = `${SHIPPED}/${parsed.data.app}` } = parsed.data;
    return { ok: true, manifest: { ...parsed.data, image } };
  }
  const grammar = { schema: manifestSchema, notLanded: NOT_LANDED, named: "the manifest" };
  return { ok: false, errors: schemaErrors(parsed.error.issues, source, grammar) };
}

/** `x-…` at the top is for the file's own use: anchors that are merged in below. */
const withoutExtensions = (value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith("x-")))
    : value;

/** A hundred times what a large one has; the reading of it is a request's work. */
const MAX_BYTES = 65_536;

function lengthError(text: string): ManifestError | undefined {
  // A character has at least a byte: what is far too long need not be counted.
  const bytes = text.length > MAX_BYTES ? text.length : new TextEncoder().encode(text).length;
  if (bytes <= MAX_BYTES) return undefined;
  const detail = `it has ${Math.ceil(bytes / 1024)} KiB, and a manifest at most ${MAX_BYTES / 1024}`;
  return { code: "syntax", pointer: "", detail };
}

/** An environment variable is text: `1.50`, `012` and `12345678901234567890` reach the app as they were written. */
function keepEnvironmentText(document: Document): void {
  const environments = document.get("environments");
  const scopes = isMap(environments) ? environments.items.map((item) => item.value) : [];
  for (const scope of [document.contents, ...scopes].flatMap((node) => mapsOf(document, node)))
    for (const env of mapsOf(document, scope.get("env", true)))
      for (const { value } of env.items)
        if (isScalar(value) && value.value !== null && value.source !== undefined) value.value = value.source;
}

/** A map and those that are merged into it (`<<`), however deep; each once. */
function mapsOf(document: Document, node: unknown, seen = new Set<YAMLMap>()): YAMLMap[] {
  const map = isAlias(node) ? node.resolve(document) : node;
  if (!isMap(map) || seen.has(map)) return [];
  seen.add(map);
  const merged = map.items.filter(({ key }) => isScalar(key) && key.source === "<<");
  const from = merged.flatMap(({ value }) => (isSeq(value) ? value.items : [value]));
  return [map, ...from.flatMap((one) => mapsOf(document, one, seen))];
}
