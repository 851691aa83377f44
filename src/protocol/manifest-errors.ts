import { type Document, isAlias, isMap, isPair, isScalar, type LineCounter, visit } from "yaml";
import { z } from "zod";

/** One thing wrong with a manifest. `pointer` is the dotted key path; line and column are 1-based. */
export interface ManifestError {
  readonly code: "syntax" | "unknown_key" | "repeated_key" | "not_landed" | "invalid";
  readonly pointer: string;
  readonly detail: string;
  readonly line?: number;
  readonly column?: number;
}

type Path = readonly PropertyKey[];

/** A manifest's text as far as YAML goes, and where its parts stand. */
export interface Source {
  readonly document: Document;
  readonly lines: LineCounter;
}

/** What YAML itself objects to: syntax, repeated keys, tags nobody resolves. */
export function yamlErrors({ document, lines }: Source): ManifestError[] {
  const errors = [...document.errors, ...document.warnings].map((error): ManifestError => {
    const { line, col } = lines.linePos(error.pos[0]);
    const at = { line, column: col };
    if (error.code === "MULTIPLE_DOCS")
      return {
        code: "syntax",
        pointer: "",
        detail: "`---` begins a second document: one app per file",
        ...at,
      };
    if (error.code !== "DUPLICATE_KEY") return { code: "syntax", pointer: "", detail: error.message, ...at };
    const pointer = keyPathAt(document, error.pos[0]);
    return {
      code: "repeated_key",
      pointer,
      detail: `the key \`${pointer}\` stands twice: keep one of them`,
      ...at,
    };
  });
  return [...errors, ...protoKeys({ document, lines })];
}

function keyPathAt(document: Document, offset: number): string {
  let found = "";
  visit(document, {
    Pair(_, pair, ancestors) {
      if (!isScalar(pair.key) || pair.key.range?.[0] !== offset) return undefined;
      const keys = [...ancestors, pair]
        .filter(isPair)
        .map((part) => (isScalar(part.key) ? part.key.value : "?"));
      found = keys.join(".");
      return visit.BREAK;
    },
  });
  return found;
}

/** JavaScript drops this one key without a word, so it would look applied. */
function protoKeys({ document, lines }: Source): ManifestError[] {
  const errors: ManifestError[] = [];
  visit(document, {
    Pair(_, pair) {
      if (!isScalar(pair.key) || pair.key.value !== "__proto__") return;
      const { line, col } = lines.linePos(pair.key.range?.[0] ?? 0);
      const detail = "`__proto__` can't be a key";
      errors.push({ code: "unknown_key", pointer: "__proto__", detail, line, column: col });
    },
  });
  return errors;
}

interface Grammar {
  readonly schema: z.ZodType;
  /** Key paths, `*` for an environment's name, that a later version will know. */
  readonly notLanded: ReadonlySet<string>;
  /** What is read, in words: `the manifest`. */
  readonly named: string;
}

/** What the schema objects to, all of it, in the order of the file. */
export function schemaErrors(
  issues: readonly z.core.$ZodIssue[],
  source: Source,
  grammar: Grammar,
): ManifestError[] {
  const errors = issues.flatMap((issue) => explain(issue, source, grammar));
  return errors.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}

function explain(issue: z.core.$ZodIssue, source: Source, grammar: Grammar): ManifestError[] {
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => unknownKey([...issue.path, key], source, grammar));
  if (issue.code === "invalid_union") {
    const meant = meantBranch(issue.errors);
    if (meant)
      return meant.flatMap((error) =>
        explain({ ...error, path: [...issue.path, ...error.path] }, source, grammar),
      );
  }
  const value = valueAt(source.document, issue.path);
  if (typeof value === "string" && isNotLanded([...issue.path, value], grammar))
    return [notLanded([...issue.path, value].join("."), locate(source, issue.path))];
  const pointer = issue.path.join(".");
  const detail = `${pointer ? `\`${pointer}\`` : grammar.named} ${complaint(issue, value)}`;
  return [{ code: "invalid", pointer, detail, ...locate(source, issue.path) }];
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

function unknownKey(path: Path, source: Source, grammar: Grammar): ManifestError {
  const pointer = path.join(".");
  const where = locate(source, path);
  if (isNotLanded(path, grammar)) return notLanded(pointer, where);
  const meant = closest(String(path.at(-1)), keysAt(path.slice(0, -1), grammar.schema));
  const detail = `\`${pointer}\` is not a key of ${grammar.named}${meant ? `: did you mean \`${meant}\`?` : ""}`;
  return { code: "unknown_key", pointer, detail, ...where };
}

const notLanded = (pointer: string, where: { line?: number; column?: number }): ManifestError => ({
  code: "not_landed",
  pointer,
  detail: `\`${pointer}\` is not available in this version of Sluice: remove it, or upgrade the control plane`,
  ...where,
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

function valueAt(document: Document, path: Path): unknown {
  const node = nodeAt(document, path);
  return isScalar(node) ? node.value : node;
}

function nodeAt(document: Document, path: Path): unknown {
  return path.reduce<unknown>((node, part) => step(document, node, part), document.contents);
}

function step(document: Document, parent: unknown, part: PropertyKey): unknown {
  const node = isAlias(parent) ? parent.resolve(document) : parent;
  if (isMap(node)) return node.items.find((item) => keyOf(item.key) === String(part))?.value;
  if (node && typeof node === "object" && "items" in node && Array.isArray(node.items))
    return node.items[Number(part)];
  return undefined;
}

const keyOf = (key: unknown) => (isScalar(key) ? String(key.value) : String(key));

/** Where a key stands, or a list's entry; for a key that isn't there, the key it would stand under. */
function locate({ document, lines }: Source, path: Path): { line?: number; column?: number } {
  let node: unknown = document.contents;
  let start: number | undefined;
  for (const part of path) {
    const parent = isAlias(node) ? node.resolve(document) : node;
    const pair = isMap(parent) ? parent.items.find((item) => keyOf(item.key) === String(part)) : undefined;
    node = step(document, parent, part);
    const marked = pair ? pair.key : node;
    if (!marked || typeof marked !== "object" || !("range" in marked) || !Array.isArray(marked.range)) break;
    start = Number(marked.range[0]);
  }
  if (start === undefined) return {};
  const { line, col } = lines.linePos(start);
  return { line, column: col };
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
