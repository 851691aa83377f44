/**
 * What differs between two answers to one request, by field and never by value. Ids, times and an order that is different each
 * time differ between two answers of one release as well: so stable is compared with itself beside it, and only counts leave.
 */
import { OTHER_ROUTES } from "./route-name.ts";

/** An answer as far as it is compared. */
export interface Seen {
  /** 0: there was no answer. */
  readonly status: number;
  /** `Content-Type` as it came. */
  readonly type: string;
  /** Null: not looked at, being something else than JSON, or too long. */
  readonly fields: Fields | "invalid" | null;
}
/** The values at each path, in their order. */
export type Fields = ReadonlyMap<string, readonly string[]>;

/**
 * Bounds on what is read of one answer; what lies past them is not compared. A Worker on the Free plan has 10 ms for the visitor's
 * answer and all that follows, three of these included.
 */
const MOST_FIELDS = 200;
const MOST_VALUES = 2_000;
const MOST_DEPTH = 16;
const MOST_PATH = 160;
/** An object with more keys than this is a list by key. */
const MOST_KEYS = 50;
/** Stands among the paths where more fields or values came. */
const CUT = "";

/** Reads a JSON text. Places in lists, and keys that are ids, are folded: `$.items[].price`, `$.users.{}.name`. */
export function fieldsOf(text: string): Fields | "invalid" {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "invalid";
  }
  const fields = new Map<string, string[]>();
  let values = 0;
  const add = (path: string, leaf: string): void => {
    const there = fields.get(path);
    if (there) there.push(leaf);
    else if (fields.size < MOST_FIELDS) fields.set(path, [leaf]);
    else fields.set(CUT, []);
    values += 1;
  };
  const walk = (node: unknown, path: string, depth: number): void => {
    if (depth > MOST_DEPTH || path.length > MOST_PATH) return;
    if (values >= MOST_VALUES) fields.set(CUT, []);
    else if (typeof node !== "object" || node === null) add(path, JSON.stringify(node));
    else if (Array.isArray(node)) {
      if (node.length === 0) add(`${path}[]`, "");
      for (const item of node) walk(item, `${path}[]`, depth + 1);
    } else {
      // Own entries alone: `__proto__` is a key like any other here.
      const entries = Object.entries(node);
      if (entries.length === 0) add(path, "{}");
      const isList = entries.length > MOST_KEYS;
      for (const [key, inner] of entries) walk(inner, `${path}.${isList ? "{}" : nameOf(key)}`, depth + 1);
    }
  };
  walk(value, "$", 0);
  return fields;
}

/** Names of fields are the app's own; a key that is an id, or what a person typed, may be somebody's and stays here. */
const nameOf = (key: string): string => (/^[A-Za-z_$][A-Za-z_$:-]{0,39}\d{0,2}$/.test(key) ? key : "{}");

/** What differs: `status`, `content-type`, `not JSON`, paths, and the `order` of a list whose values are the same. */
export function differences(a: Seen, b: Seen): Set<string> {
  const found = new Set<string>();
  // An error page's fields have nothing to do with an answer's.
  if (a.status !== b.status) return found.add("status");
  if (a.type !== b.type) found.add("content-type");
  const [own, other] = [a.fields, b.fields];
  if (own === null || other === null || mediaType(a.type) !== mediaType(b.type)) return found;
  if (own === "invalid" || other === "invalid") return own === other ? found : found.add("not JSON");
  for (const path of new Set([...own.keys(), ...other.keys()])) {
    const [x, y] = [own.get(path) ?? [], other.get(path) ?? []];
    const [less, shorter] = x.length < y.length ? [x, own] : [y, other];
    // What it lacks may lie past where it was cut.
    const most = shorter.has(CUT) ? less.length : undefined;
    const difference = valuesDiffer(x.slice(0, most), y.slice(0, most));
    if (difference === "values") found.add(path);
    else if (difference === "order") found.add(`${path.slice(0, path.lastIndexOf("[]") + 2)} order`);
  }
  return found;
}

/** `text/html` of `Text/HTML; charset=utf-8`. */
export const mediaType = (type: string): string => type.replace(/;.*/s, "").trim().toLowerCase();

function valuesDiffer(a: readonly string[], b: readonly string[]): "values" | "order" | null {
  if (a.length !== b.length) return "values";
  const same = (x: readonly string[], y: readonly string[]) => x.every((value, i) => value === y[i]);
  if (same(a, b)) return null;
  return same(a.toSorted(), b.toSorted()) ? "order" : "values";
}

/** One answer of a release, and what it and stable's second answer differ from stable's first in. */
export interface Comparison {
  /** route-name.ts */
  readonly route: string;
  readonly canary: ReadonlySet<string>;
  readonly stable: ReadonlySet<string>;
}

/** Comparisons of a release's answers with stable's, each beside one of stable with itself. */
export interface Compared {
  /** Comparisons by route (route-name.ts). */
  readonly routes: readonly { readonly route: string; readonly answers: number }[];
  readonly fields: readonly FieldEntry[];
}

/** In how many comparisons a field differed; those in which it never did are not named. */
export interface FieldEntry {
  readonly route: string;
  /** As {@link differences} names it. */
  readonly field: string;
  /** Between the release and stable alone. */
  readonly canary: number;
  /** Between stable and itself alone. */
  readonly stable: number;
  readonly both: number;
}

/** Routes and fields counted at a time. Of either, what comes past it is counted as one, or not at all. */
const MOST_ROUTES = 64;
const MOST_COUNTED = 400;
/** Adds comparisons up; of bounded size whatever is added. */
export class Comparisons {
  readonly #routes = new Map<string, number>();
  readonly #fields = new Map<string, { -readonly [K in keyof FieldEntry]: FieldEntry[K] }>();

  count({ route, canary, stable }: Comparison): void {
    const fields = [...new Set([...canary, ...stable])].map((field) => {
      const [own, other] = [canary.has(field) ? 1 : 0, stable.has(field) ? 1 : 0];
      const both = own * other;
      return { route, field, canary: own - both, stable: other - both, both };
    });
    this.add({ routes: [{ route, answers: 1 }], fields });
  }

  add({ routes, fields }: Compared): void {
    for (const { route, answers } of routes) {
      const name = this.#routes.has(route) || this.#routes.size < MOST_ROUTES ? route : OTHER_ROUTES;
      this.#routes.set(name, (this.#routes.get(name) ?? 0) + answers);
    }
    for (const { field, canary, stable, both, ...entry } of fields) {
      const route = this.#routes.has(entry.route) ? entry.route : OTHER_ROUTES;
      const key = `${route} ${field}`;
      let counted = this.#fields.get(key);
      if (counted === undefined) {
        if (this.#fields.size >= MOST_COUNTED && !this.#makeRoom()) continue;
        counted = { route, field, canary: 0, stable: 0, both: 0 };
        this.#fields.set(key, counted);
      }
      counted.canary += canary;
      counted.stable += stable;
      counted.both += both;
    }
  }

  /** A field that does not speak against the release gives way. */
  #makeRoom(): boolean {
    for (const [key, { canary, stable }] of this.#fields)
      if (canary <= stable) return this.#fields.delete(key);
    return false;
  }

  read(): Compared {
    const routes = [...this.#routes].map(([route, answers]) => ({ route, answers }));
    return { routes, fields: [...this.#fields.values()] };
  }
}
