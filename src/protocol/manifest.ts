import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import type { EnvironmentSpec, ProbeSpec } from "../domain/spec.ts";

/**
 * `sluice.yaml`. A key whose feature is not in this version is refused by name, never ignored: a manifest that looks
 * applied but isn't is how a team finds out on a Friday that its smoke checks never ran.
 */
const NOT_LANDED = new Set([
  "secrets",
  "volumes",
  "hooks",
  "smoke",
  "accessories",
  "environments.*.requires",
  "environments.*.notify",
  "environments.*.secrets",
  "environments.*.strategy.rolling",
  "environments.*.strategy.canary",
  "environments.*.windows",
]);

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
const HOSTNAME =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Record<string, number> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** `250ms`, `3s`, `10m`, `24h`, `7d` → milliseconds. */
export const durationSchema = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, "a duration such as 250ms, 3s, 10m or 24h")
  .transform((text) => {
    const [, amount, unit] = /^([\d.]+)(\D+)$/.exec(text) ?? [];
    return Math.round(Number(amount) * (UNIT_MS[unit ?? ""] ?? Number.NaN));
  });

/** `512m`, `1g` → bytes. */
const bytesSchema = z
  .string()
  .regex(/^\d+(\.\d+)?[bkmg]$/i, "a size such as 512m or 1g")
  .transform((text) =>
    Math.round(Number(text.slice(0, -1)) * (UNIT_BYTES[text.slice(-1).toLowerCase()] ?? 0)),
  );

const path = z.string().regex(/^\/\S*$/, "a path that starts with /");
const probe = {
  path,
  interval: durationSchema.optional(),
  timeout: durationSchema.optional(),
  failures: z.number().int().min(1).max(100).optional(),
  successes: z.number().int().min(1).max(100).optional(),
};
const envSchema = z.record(
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "a name of letters, digits and _"),
  z.union([z.string(), z.number(), z.boolean()]).transform(String),
);

const environmentSchema = z.strictObject({
  hostnames: z
    .array(
      z
        .string()
        .toLowerCase()
        .regex(HOSTNAME, "a hostname such as shop.example.com: no scheme, port or path"),
    )
    .min(1)
    .max(50)
    .refine((names) => new Set(names).size === names.length, "hostnames must differ from each other"),
  hosts: z.record(z.string(), z.string()).default({}),
  replicas: z.number().int().min(1).max(100).default(1),
  strategy: z
    .union([z.literal("blue-green"), z.strictObject({ "blue-green": z.strictObject({}) })], {
      error: "blue-green",
    })
    .default("blue-green"),
  keep: durationSchema.default(600_000),
  env: envSchema.default({}),
  affinity: z
    .union([
      z.enum(["cookie", "ip", "none"]),
      z.string().regex(/^header:[A-Za-z0-9-]+$/, "cookie, ip, none or header:<name>"),
    ])
    .default("cookie"),
  timeouts: z.strictObject({ response: durationSchema.optional() }).default({}),
  showRelease: z.boolean().default(true),
  deadlines: z
    .strictObject({
      prepare: durationSchema.optional(),
      verify: durationSchema.optional(),
      release: durationSchema.optional(),
    })
    .default({}),
});

export const manifestSchema = z.strictObject({
  $schema: z.string().optional(),
  app: z.string().regex(NAME, "1–40 of a-z, 0-9 and -, beginning and ending with a letter or digit"),
  image: z
    .string()
    .min(1)
    .refine(
      (image) => image.startsWith("file:") || !/[\s]/.test(image),
      "an image repository without spaces",
    ),
  port: z.number().int().min(1).max(65_535),
  command: z.array(z.string()).min(1).optional(),
  health: z
    .strictObject({
      startup: z
        .strictObject({ ...probe, path: path.optional(), deadline: durationSchema.optional() })
        .optional(),
      readiness: z.strictObject(probe).optional(),
      liveness: z.strictObject(probe).optional(),
    })
    .default({}),
  resources: z
    .strictObject({
      cpus: z.number().positive().optional(),
      memory: bytesSchema.optional(),
      memoryReservation: bytesSchema.optional(),
    })
    .default({}),
  logging: z
    .strictObject({ maxSize: bytesSchema.optional(), maxFile: z.number().int().min(1).max(100).optional() })
    .default({}),
  env: envSchema.default({}),
  drain: durationSchema.default(30_000),
  stopGrace: durationSchema.default(30_000),
  environments: z
    .record(z.string().regex(NAME, "1–40 of a-z, 0-9 and -"), environmentSchema)
    .refine((environments) => Object.keys(environments).length > 0, "at least one environment"),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** One thing wrong with a manifest. `pointer` is the dotted key path; line and column are 1-based. */
export interface ManifestError {
  readonly code: "syntax" | "unknown_key" | "repeated_key" | "not_landed" | "invalid";
  readonly pointer: string;
  readonly detail: string;
  readonly line?: number;
  readonly column?: number;
}
export type ParsedManifest =
  | { readonly ok: true; readonly manifest: Manifest }
  | { readonly ok: false; readonly errors: readonly ManifestError[] };

/** Parses a manifest's text (YAML, so JSON too). All errors at once, in the order of the file. */
export function parseManifest(text: string): ParsedManifest {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntax = document.errors.map((error): ManifestError => {
    const { line, col } = lines.linePos(error.pos[0]);
    const repeated = error.code === "DUPLICATE_KEY";
    const key = repeated ? (/^[^\s:]+/.exec(text.slice(error.pos[0]))?.[0] ?? "") : "";
    return {
      code: repeated ? "repeated_key" : "syntax",
      pointer: key,
      detail: repeated ? `the key \`${key}\` stands twice: keep one of them` : error.message,
      line,
      column: col,
    };
  });
  if (syntax.length > 0) return { ok: false, errors: syntax };
  const parsed = manifestSchema.safeParse(document.toJS() ?? {});
  if (parsed.success) return { ok: true, manifest: parsed.data };
  const at = (path: readonly PropertyKey[]) => locate(document, lines, path);
  const errors = parsed.error.issues.flatMap((issue) => explain(issue, at));
  return { ok: false, errors: errors.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)) };
}

type Locate = (path: readonly PropertyKey[]) => { line?: number; column?: number };

function explain(issue: z.core.$ZodIssue, at: Locate): ManifestError[] {
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(issue.path, key, at));
  if (issue.code === "invalid_union" && issue.path.at(-1) === "strategy") return [strategyError(issue, at)];
  const pointer = issue.path.join(".");
  const wanted = issue.message.replace(/^Invalid input: /, "");
  return [
    { code: "invalid", pointer, detail: `\`${pointer || "(top level)"}\`: ${wanted}`, ...at(issue.path) },
  ];
}

function unknownKey(path: readonly PropertyKey[], key: string, at: Locate): ManifestError {
  const full = [...path, key];
  const pointer = full.join(".");
  const where = at(full);
  if (isNotLanded(full)) {
    const detail = `\`${pointer}\` is not available in this version of Sluice: remove it, or upgrade the control plane`;
    return { code: "not_landed", pointer, detail, ...where };
  }
  const meant = closest(key, keysAt(path));
  const detail = `\`${pointer}\` is not a key of the manifest${meant ? `: did you mean \`${meant}\`?` : ""}`;
  return { code: "unknown_key", pointer, detail, ...where };
}

function strategyError(issue: z.core.$ZodIssue & { code: "invalid_union" }, at: Locate): ManifestError {
  const pointer = issue.path.join(".");
  const named = issue.errors.flat().find((inner) => inner.code === "unrecognized_keys");
  const key = named?.code === "unrecognized_keys" ? named.keys[0] : undefined;
  const value = key ?? (typeof issue.input === "string" ? issue.input : undefined);
  if (value !== undefined && isNotLanded([...issue.path, value])) {
    const detail = `strategy \`${value}\` is not available in this version of Sluice: use blue-green`;
    return { code: "not_landed", pointer, detail, ...at(issue.path) };
  }
  return { code: "invalid", pointer, detail: `\`${pointer}\` must be blue-green`, ...at(issue.path) };
}

function isNotLanded(path: readonly PropertyKey[]): boolean {
  const pattern = path
    .map((part, i) => (i === 1 && path[0] === "environments" ? "*" : String(part)))
    .join(".");
  return NOT_LANDED.has(pattern);
}

/** The keys the schema knows at a path, for "did you mean". */
function keysAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = manifestSchema;
  for (const part of path) {
    schema = unwrap(schema);
    if (schema instanceof z.ZodObject) schema = schema.shape[String(part)];
    else if (schema instanceof z.ZodRecord) schema = schema.valueType;
    else return [];
  }
  schema = unwrap(schema);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function unwrap(schema: unknown): unknown {
  while (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) schema = schema.unwrap();
  return schema;
}

function locate(
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
  path: readonly PropertyKey[],
) {
  let node: unknown = document.contents;
  let start: number | undefined;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (!pair) break;
      if (isScalar(pair.key)) start = pair.key.range?.[0];
      node = pair.value;
    } else if (node && typeof node === "object" && "items" in node && Array.isArray(node.items)) {
      node = node.items[Number(part)];
      if (isScalar(node)) start = node.range?.[0];
    } else break;
  }
  if (start === undefined) return {};
  const { line, col } = lines.linePos(start);
  return { line, column: col };
}

function closest(word: string, candidates: readonly string[]): string | undefined {
  const scored = candidates.map((candidate) => ({ candidate, distance: distance(word, candidate) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(2, Math.floor(word.length / 3)) ? best.candidate : undefined;
}

/** Levenshtein distance, case-insensitive. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1]?.toLowerCase() === b[j - 1]?.toLowerCase() ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

type ProbeInput = { path: string } & Partial<
  Record<"interval" | "timeout" | "failures" | "successes", number | undefined>
>;

/** The normalised spec of one environment: the manifest with every default filled in. */
export function toSpec(manifest: Manifest, environment: string): EnvironmentSpec | undefined {
  const env = manifest.environments[environment];
  if (!env) return undefined;
  const readiness = toProbe(manifest.health.readiness ?? { path: "/" }, { intervalMs: 5_000, failures: 3 });
  const startup = manifest.health.startup ?? {};
  const { cpus, memory, memoryReservation } = manifest.resources;
  return {
    app: manifest.app,
    environment,
    image: manifest.image,
    port: manifest.port,
    ...(manifest.command ? { command: manifest.command } : {}),
    env: { ...manifest.env, ...env.env },
    health: {
      startup: {
        ...toProbe({ ...startup, path: startup.path ?? readiness.path }, { intervalMs: 250, failures: 1 }),
        deadlineMs: startup.deadline ?? 60_000,
      },
      readiness,
      ...(manifest.health.liveness
        ? { liveness: toProbe(manifest.health.liveness, { intervalMs: 10_000, failures: 3 }) }
        : {}),
    },
    resources: {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memory === undefined ? {} : { memoryBytes: memory }),
      ...(memoryReservation === undefined ? {} : { memoryReservationBytes: memoryReservation }),
    },
    logging: {
      maxSizeBytes: manifest.logging.maxSize ?? 10 * 1024 ** 2,
      maxFiles: manifest.logging.maxFile ?? 3,
    },
    drainMs: manifest.drain,
    stopGraceMs: manifest.stopGrace,
    hostnames: env.hostnames,
    hosts: env.hosts,
    replicas: env.replicas,
    strategy: { kind: "blue-green" },
    keepMs: env.keep,
    affinity: toAffinity(env.affinity),
    timeouts: { responseMs: env.timeouts.response ?? 100_000 },
    showRelease: env.showRelease,
    deadlines: {
      prepareMs: env.deadlines.prepare ?? 600_000,
      verifyMs: env.deadlines.verify ?? 30_000,
      releaseMs: env.deadlines.release ?? 3_600_000,
    },
  };
}

function toProbe(input: ProbeInput, defaults: { intervalMs: number; failures: number }): ProbeSpec {
  return {
    path: input.path,
    intervalMs: input.interval ?? defaults.intervalMs,
    timeoutMs: input.timeout ?? 3_000,
    failures: input.failures ?? defaults.failures,
    successes: input.successes ?? 1,
  };
}

function toAffinity(text: string): EnvironmentSpec["affinity"] {
  if (text === "cookie" || text === "ip" || text === "none") return { kind: text };
  return { kind: "header", name: text.slice("header:".length).toLowerCase() };
}
