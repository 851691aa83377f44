import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  LineCounter,
  type Pair,
  parseDocument,
  type Scalar,
} from "yaml";

/** What a manifest leaves to whoever applies it: `${NAME}` in `env` and `image`, and texts that lie in files beside it. */
export interface Filled {
  readonly text: string;
  /** What could not be filled in; in the text `unset` stands in its place. */
  readonly lacking: readonly Lack[];
  /** Key paths of what was filled in. */
  readonly filled: readonly string[];
}

export interface Lack {
  readonly pointer: string;
  readonly detail: string;
  readonly line: number;
  readonly column: number;
}

export interface Sources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file by its path from the manifest; else why not, in words. */
  readonly read: (path: string) => { readonly text: string } | { readonly problem: string };
}

interface Edit {
  readonly from: number;
  readonly to: number;
  readonly value: string;
}

/**
 * Fills in what a manifest takes from outside. Every line keeps its number, so that what is said of the result holds for the
 * file. A text that is no YAML comes back as it is: the parser says what is wrong.
 */
export function fillManifest(text: string, sources: Sources): Filled {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    logLevel: "silent",
    uniqueKeys: false,
    merge: true,
  });
  if (document.errors.length > 0) return { text, lacking: [], filled: [] };
  const lacking: Lack[] = [];
  const edits: (Edit & { pointer: string })[] = [];
  for (const { pointer, node, kind } of placesIn(document)) {
    const [from = 0, to = from] = node.range ?? [];
    const { line, col: column } = lines.linePos(from);
    const lack = (detail: string) => lacking.push({ pointer, detail, line, column });
    const value = kind === "file" ? fileText(String(node.value), sources, lack) : filled(node, sources, lack);
    if (value !== undefined) edits.push({ ...outerRange(node, kind, document, [from, to]), value, pointer });
  }
  return { text: apply(text, edits), lacking, filled: edits.map(({ pointer }) => pointer) };
}

interface Place {
  readonly pointer: string;
  readonly node: Scalar;
  readonly kind: "text" | "file";
}

function placesIn(document: Document): Place[] {
  const root = mapOf(document, document.contents);
  const scopes: [string, readonly Pair[]][] = [["", root]];
  for (const group of ["environments", "accessories", "processes"])
    for (const { key, value } of entriesOf(document, root, group))
      scopes.push([`${group}.${nameOf(key)}.`, mapOf(document, value)]);
  return scopes.flatMap(([prefix, pairs]) => [
    ...textsIn(document, prefix, pairs),
    ...entriesOf(document, pairs, "files").flatMap(({ key, value }) =>
      fromOf(document, `${prefix}files.${nameOf(key)}`, value),
    ),
  ]);
}

function textsIn(document: Document, prefix: string, pairs: readonly Pair[]): Place[] {
  const image = pairs.find(({ key }) => nameOf(key) === "image")?.value;
  const own = isText(image) ? [{ pointer: `${prefix}image`, node: image, kind: "text" as const }] : [];
  const variables = envOf(document, pairs).flatMap(({ key, value }): Place[] =>
    isText(value) ? [{ pointer: `${prefix}env.${nameOf(key)}`, node: value, kind: "text" }] : [],
  );
  return [...own, ...variables];
}

/** With what is merged into it. */
function envOf(document: Document, pairs: readonly Pair[], key = "env"): Pair[] {
  const own = entriesOf(document, pairs, key);
  const merged = own.filter((pair) => nameOf(pair.key) === "<<");
  return [...own, ...merged.flatMap(({ value }) => mapOf(document, value))];
}

const fromOf = (document: Document, pointer: string, value: unknown): Place[] => {
  const [only, ...others] = mapOf(document, value);
  if (!only || others.length > 0 || nameOf(only.key) !== "from" || !isText(only.value)) return [];
  return [{ pointer, node: only.value, kind: "file" }];
};

const mapOf = (document: Document, node: unknown): readonly Pair[] => {
  const found = isAlias(node) ? node.resolve(document) : node;
  return isMap(found) ? found.items : [];
};
const entriesOf = (document: Document, pairs: readonly Pair[], key: string): readonly Pair[] =>
  mapOf(document, pairs.find((pair) => nameOf(pair.key) === key)?.value);
const nameOf = (key: unknown): string => (isScalar(key) ? String(key.source ?? key.value) : "");
const isText = (node: unknown): node is Scalar => isScalar(node) && typeof node.value === "string";

/** `$$` is a `$` of its own; whatever else has one stays as it is written. */
const VARIABLE = /\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})/g;

function filled(node: Scalar, { env }: Sources, lack: (detail: string) => void): string | undefined {
  const given = String(node.value);
  const value = given.replace(VARIABLE, (found, name?: string, fallback?: string) => {
    if (name === undefined) return found === "$$" ? "$" : found;
    const set = env[name];
    // As in shells: `:-` fills in for what is empty, too.
    if (fallback !== undefined) return set || fallback;
    if (set !== undefined) return set;
    lack(`needs the variable ${name}, which is not set; \`\${${name}:-…}\` would give it a default`);
    return "unset";
  });
  return value === given ? undefined : value;
}

function fileText(path: string, { read }: Sources, lack: (detail: string) => void): string {
  const found = read(path);
  if ("text" in found) return found.text;
  lack(found.problem);
  return "unset";
}

/** A text stands for itself; a `{ from: … }` is replaced whole. */
function outerRange(node: Scalar, kind: Place["kind"], document: Document, [from, to]: [number, number]) {
  if (kind === "text") return { from, to };
  let range = { from, to };
  visitMaps(document.contents, (map, pairs) => {
    if (pairs.length === 1 && pairs[0]?.value === node && map[0] !== undefined && map[1] !== undefined)
      range = { from: map[0], to: map[1] };
  });
  return range;
}

function visitMaps(node: unknown, seen: (range: readonly number[], pairs: readonly Pair[]) => void): void {
  if (!isMap(node)) return;
  seen(node.range ?? [], node.items);
  for (const { value } of node.items) visitMaps(value, seen);
}

function apply(text: string, edits: readonly Edit[]): string {
  let result = text;
  for (const { from, to, value } of [...edits].sort((a, b) => b.from - a.from)) {
    const written = result.slice(from, to);
    const rows = written.split("\n").length - 1;
    result = `${result.slice(0, from)}${JSON.stringify(value)}${"\n".repeat(rows)}${result.slice(to)}`;
  }
  return result;
}
