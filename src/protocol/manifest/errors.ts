import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  LineCounter,
  type Pair,
  parseDocument,
  visit,
  type YAMLMap,
} from "yaml";
import { z } from "zod";

/** One thing wrong with a manifest. `pointer` is the dotted key path; line and column are 1-based. `more`: how many are not told. */
export interface ManifestError {
  readonly code: "syntax" | "unknown_key" | "repeated_key" | "not_landed" | "invalid" | "more";
  readonly pointer: string;
  readonly detail: string;
  readonly line?: number;
  readonly column?: number;
}

type Path = readonly PropertyKey[];

/** A text as far as YAML goes, and where its parts stand. Made by {@link readSource}. */
export interface Source {
  readonly document: Document;
  readonly lines: LineCounter;
  /** The pairs of each map by their keys: a text of nothing but mistakes is still read in one go. */
  readonly pairs: WeakMap<object, ReadonlyMap<string, Pair>>;
}

/** Reads YAML. Repeated keys are found here and not by the library, which compares each with each. */
export function readSource(text: string): Source {
  const lines = new LineCounter();
  // Not "silent": that would also hide that there is a second document.
  const options = {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: "error",
    uniqueKeys: false,
    merge: true,
  } as const;
  return { document: parseDocument(text, options), lines, pairs: new WeakMap() };
}

/** Each is looked up in the whole text. More is no manifest. */
const MAX_ALIASES = 100;

/** What YAML itself objects to: syntax, tags nobody resolves; and what nobody means to write: repeated keys. */
export function yamlErrors(source: Source): ManifestError[] {
  const { document } = source;
  const errors = [...document.errors, ...document.warnings].map((error): ManifestError => {
    const detail =
      error.code === "MULTIPLE_DOCS" ? "`---` begins a second document: one app per file" : error.message;
    return { code: "syntax", pointer: "", detail, ...placeOf(source, error.pos[0]) };
  });
  return firstOf([...errors, ...keyErrors(source)]);
}

function keyErrors(source: Source): ManifestError[] {
  const errors: ManifestError[] = [];
  const known = new Map<object, Set<string>>();
  let aliases = 0;
  visit(source.document, {
    Alias(_, alias) {
      aliases += 1;
      if (alias.source.startsWith("."))
        errors.push(unquoted(alias.source, placeOf(source, alias.range?.[0] ?? 0)));
      if (aliases <= MAX_ALIASES) return undefined;
      const detail = `there are more than ${MAX_ALIASES} aliases (\`*${alias.source}\`): write the values out`;
      errors.push({ code: "syntax", pointer: "", detail, ...placeOf(source, alias.range?.[0] ?? 0) });
      return visit.BREAK;
    },
    Pair(_, pair, ancestors) {
      if (!isScalar(pair.key)) return;
      const map = ancestors.at(-1) ?? source.document;
      const keys = known.get(map) ?? new Set();
      known.set(map, keys);
      const key = String(pair.key.source ?? pair.key.value);
      const place = placeOf(source, pair.key.range?.[0] ?? 0);
      // JavaScript drops this one without a word, so it would look applied.
      if (key === "__proto__")
        errors.push({ code: "unknown_key", pointer: key, detail: "`__proto__` can't be a key", ...place });
      if (keys.has(key)) errors.push(repeatedKey([...ancestors, pair], place));
      keys.add(key);
    },
  });
  return errors;
}

/** `*` begins an alias in YAML, and a wildcard everywhere else. */
const unquoted = (name: string, place: Place): ManifestError => ({
  code: "syntax",
  pointer: "",
  detail: `\`*${name}\` is an alias in YAML: write the wildcard in quotes, "*${name}"`,
  ...place,
});

function repeatedKey(parts: readonly unknown[], place: Place): ManifestError {
  const keys = parts
    .filter(isPair)
    .map((part) => (isScalar(part.key) ? String(part.key.source ?? part.key.value) : "?"));
  const pointer = keys.join(".");
  return {
    code: "repeated_key",
    pointer,
    detail: `the key \`${pointer}\` stands twice: keep one of them`,
    ...place,
  };
}

interface Place {
  readonly line?: number;
  readonly column?: number;
}

function placeOf({ lines }: Source, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

/** Nobody mends more at once, and an answer has to end somewhere. */
const MAX_ERRORS = 50;

const inFileOrder = (a: Place, b: Place) =>
  (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);

/** The first errors in the order of the file, and how many more there are. */
function firstOf(errors: ManifestError[]): ManifestError[] {
  const sorted = errors.sort(inFileOrder);
  return sorted.length <= MAX_ERRORS
    ? sorted
    : [...sorted.slice(0, MAX_ERRORS), andMore(sorted.length - MAX_ERRORS)];
}

const andMore = (count: number): ManifestError => ({
  code: "more",
  pointer: "",
  detail: `and ${count.toLocaleString("en")} more`,
});

interface Grammar {
  readonly schema: z.ZodType;
  /** Key paths, `*` for an environment's name, that a later version will know. */
  readonly notLanded: ReadonlySet<string>;
  /** What is read, in words: `the manifest`. */
  readonly named: string;
}

/** What the schema objects to, in the order of the file. Only what is told is put into words. */
export function schemaErrors(
  issues: readonly z.core.$ZodIssue[],
  source: Source,
  grammar: Grammar,
): ManifestError[] {
  const objections = issues
    .flatMap((issue) => objectionsOf(issue))
    .map((objection) => ({ ...objection, place: locate(source, objection.path) }))
    .sort((a, b) => inFileOrder(a.place, b.place));
  const told = objections
    .slice(0, MAX_ERRORS)
    .map(({ path, issue, place }) =>
      issue
        ? invalid({ ...issue, path: [...path] }, source, grammar, place)
        : unknownKey(path, grammar, place),
    );
  return objections.length > MAX_ERRORS ? [...told, andMore(objections.length - MAX_ERRORS)] : told;
}

/** One thing wrong at a path. Without an issue: nobody knows this key. */
interface Objection {
  readonly path: Path;
  readonly issue?: z.core.$ZodIssue;
}

function objectionsOf(issue: z.core.$ZodIssue): Objection[] {
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => ({ path: [...issue.path, key] }));
  const meant = issue.code === "invalid_union" ? meantBranch(issue.errors) : undefined;
  if (meant)
    return meant.flatMap((error) => objectionsOf({ ...error, path: [...issue.path, ...error.path] }));
  return [{ path: issue.path, issue }];
}

function invalid(issue: z.core.$ZodIssue, source: Source, grammar: Grammar, place: Place): ManifestError {
  const value = valueAt(source, issue.path);
  if (typeof value === "string" && isNotLanded([...issue.path, value], grammar))
    return notLanded([...issue.path, value].join("."), place);
  const pointer = issue.path.join(".");
  const detail = `${pointer ? `\`${pointer}\`` : grammar.named} ${complaint(issue, value)}`;
  return { code: "invalid", pointer, detail, ...place };
}

/** Of a union's branches the one that was meant: it fails deepest, or it alone objects to a key and not to the type. */
function meantBranch(
  branches: readonly (readonly z.core.$ZodIssue[])[],
): readonly z.core.$ZodIssue[] | undefined {
  const depth = (branch: readonly z.core.$ZodIssue[]) =>
    Math.max(...branch.map((error) => error.path.length));
  const [deepest] = [...branches].sort((a, b) => depth(b) - depth(a));
  if (deepest && depth(deepest) > 0) return deepest;
  const byKey = branches.find((branch) => branch.some((error) => error.code === "unrecognized_keys"));
  return byKey?.filter((error) => error.code === "unrecognized_keys");
}

function unknownKey(path: Path, grammar: Grammar, place: Place): ManifestError {
  const pointer = path.join(".");
  if (isNotLanded(path, grammar)) return notLanded(pointer, place);
  const meant = closest(String(path.at(-1)), keysAt(path.slice(0, -1), grammar.schema));
  const detail = `\`${pointer}\` is not a key of ${grammar.named}${meant ? `: did you mean \`${meant}\`?` : ""}`;
  return { code: "unknown_key", pointer, detail, ...place };
}

const notLanded = (pointer: string, place: Place): ManifestError => ({
  code: "not_landed",
  pointer,
  detail: `\`${pointer}\` is not available in this version of Sluice: remove it, or upgrade the control plane`,
  ...place,
});

function isNotLanded(path: Path, { notLanded }: Grammar): boolean {
  const inEnvironment = path[0] === "environments";
  return notLanded.has(path.map((part, i) => (inEnvironment && i === 1 ? "*" : String(part))).join("."));
}

/** The schema's own messages, made into what a person should change. */
function complaint(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined) return "is missing";
  if (value === null && issue.code !== "custom") return "is empty";
  if (issue.code === "invalid_key") return issue.issues[0]?.message ?? issue.message;
  // A message of the schema's own is better than what can be said of a type.
  if (issue.code === "invalid_type" && issue.message.startsWith("Invalid input"))
    return `must be ${wanted(issue.expected, value)}`;
  if (issue.code === "too_small")
    return `must be ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${unit(issue.origin)}`;
  if (issue.code === "too_big") return `must be at most ${issue.maximum}${unit(issue.origin)}`;
  return issue.message;
}

function wanted(expected: string, value: unknown): string {
  const scalar = typeof value === "number" || typeof value === "boolean";
  if (expected === "string") return scalar ? `text: write it in quotes, "${value}"` : "text";
  if (expected === "number") return typeof value === "string" ? "a number, without quotes" : "a number";
  if (expected === "array") return "a list";
  if (expected === "object" || expected === "record") return "a map of keys and values";
  return expected === "int" ? "a whole number" : expected;
}

function unit(origin: string): string {
  if (origin === "string") return " characters";
  return origin === "array" ? " entries" : "";
}

function valueAt(source: Source, path: Path): unknown {
  const node = path.reduce<unknown>((node, part) => step(source, node, part).node, source.document.contents);
  return isScalar(node) ? node.value : node;
}

/** One step down, and the key it went by. */
function step(source: Source, parent: unknown, part: PropertyKey): { node: unknown; key?: unknown } {
  const node = isAlias(parent) ? parent.resolve(source.document) : parent;
  if (isMap(node)) {
    const pair = pairsOf(source, node).get(String(part));
    return { node: pair?.value, key: pair?.key };
  }
  if (node && typeof node === "object" && "items" in node && Array.isArray(node.items))
    return { node: node.items[Number(part)] };
  return { node: undefined };
}

function pairsOf({ pairs }: Source, map: YAMLMap): ReadonlyMap<string, Pair> {
  const known = pairs.get(map) ?? new Map(map.items.map((pair) => [keyOf(pair.key), pair]));
  pairs.set(map, known);
  return known;
}

const keyOf = (key: unknown) => (isScalar(key) ? String(key.value) : String(key));

/** Where a key stands, or a list's entry; for a key that isn't there, the key it would stand under. */
function locate(source: Source, path: Path): Place {
  let node: unknown = source.document.contents;
  let start: number | undefined;
  for (const part of path) {
    const down = step(source, node, part);
    node = down.node;
    const marked = down.key ?? node;
    if (!marked || typeof marked !== "object" || !("range" in marked) || !Array.isArray(marked.range)) break;
    start = Number(marked.range[0]);
  }
  return start === undefined ? {} : placeOf(source, start);
}

/** The keys the schema knows at a path, for "did you mean". */
function keysAt(path: Path, root: z.ZodType): string[] {
  let schema: unknown = root;
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
  let inner = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodOptional || inner instanceof z.ZodNullable)
    inner = inner.unwrap();
  return inner;
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
