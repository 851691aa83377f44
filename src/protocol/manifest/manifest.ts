import { type Document, isAlias, isMap, isScalar } from "yaml";
import { z } from "zod";
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
import {
  commandSchema,
  deadline,
  durationSchema,
  envSchema,
  IMAGE,
  NAME,
  NAME_RULE,
  path,
  probeDuration,
} from "./scalars.ts";
import { verifySchema } from "./verify.ts";

export type { ManifestError } from "./errors.ts";

/**
 * `sluice.yaml`. A key whose feature is not in this version is refused by name, never ignored: a manifest that looks
 * applied but isn't is how a team finds out on a Friday that its smoke checks never ran.
 */
const NOT_LANDED = new Set(["environments.*.requires", "environments.*.notify"]);

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

const probe = {
  path,
  interval: probeDuration.optional(),
  timeout: probeDuration.optional(),
  failures: z.number().int().min(1).max(100).optional(),
  successes: z.number().int().min(1).max(100).optional(),
};
const smokeSchema = z.strictObject({
  path,
  status: z.number().int().min(100).max(599).default(200),
  contains: z.string().min(1).optional(),
});

const manifestSchema = z
  .strictObject({
    $schema: z.string().optional(),
    app: z.string().regex(NAME, NAME_RULE),
    verify: verifySchema.optional(),
    image: z
      .string()
      .max(500)
      .regex(
        IMAGE,
        "must be an image such as ghcr.io/acme/shop, or file:<directory> for the process runtime",
      ),
    port: z.number().int().min(1).max(65_535),
    command: z.array(z.string()).min(1).optional(),
    health: z
      .strictObject({
        startup: z
          .strictObject({ ...probe, path: path.optional(), deadline: deadline.optional() })
          .optional(),
        readiness: z.strictObject(probe).optional(),
        liveness: z.strictObject(probe).optional(),
      })
      .default({}),
    resources: resourcesSchema,
    logging: loggingSchema,
    container: containerSchema.default({ readOnly: false, tmpfs: [], ulimits: {} }),
    volumes: volumesSchema,
    secrets: secretNamesSchema,
    env: envSchema.default({}),
    hooks: z
      .strictObject({ expand: commandSchema.optional(), contract: commandSchema.optional() })
      .default({}),
    smoke: z.array(smokeSchema).max(20).default([]),
    drain: durationSchema.default(30_000),
    stopGrace: durationSchema.default(30_000),
    accessories: accessoriesSchema,
    environments: z
      .record(z.string().regex(NAME, NAME_RULE), environmentSchema)
      .refine((environments) => Object.keys(environments).length > 0, "must have at least one environment")
      .refine((environments) => Object.keys(environments).length <= 100, "must have at most 100 environments")
      .superRefine(refuseSharedHostnames),
  })
  .superRefine(refuseNamedTwice);
export type Manifest = z.infer<typeof manifestSchema>;

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
  const parsed = manifestSchema.safeParse(source.document.toJS() ?? {});
  if (parsed.success) return { ok: true, manifest: parsed.data };
  const grammar = { schema: manifestSchema, notLanded: NOT_LANDED, named: "the manifest" };
  return { ok: false, errors: schemaErrors(parsed.error.issues, source, grammar) };
}

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
  for (const scope of [document.contents, ...scopes]) {
    const env = isMap(scope) ? scope.get("env", true) : undefined;
    const map: unknown = isAlias(env) ? env.resolve(document) : env;
    for (const { value } of isMap(map) ? map.items : [])
      if (isScalar(value) && value.value !== null && value.source !== undefined) value.value = value.source;
  }
}
