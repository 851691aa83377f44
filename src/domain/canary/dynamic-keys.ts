/**
 * Objects whose keys are data, such as `$.users` with a key for each user's name: a field for each would fill the counts, and none of
 * them would ever be seen often enough. Which they are is learned from what differs: other keys in each window, hardly one of them
 * twice. From then on they are one field, `$.users.{}.role`.
 *
 * Keys of one comparison differ together, and comparisons are the coins that differing.ts counts: so what is folded is one coin a
 * window, which falls to the side on which more of them differed.
 */
import type { Compared, FieldEntry } from "../routing/compare.ts";

/** Differing keys of one object, past which it may be such a map, and those of them that were known before. */
const MOST_KEYS = 12;
const LEAST_BEFORE = 4;
/** A key seen more often is a field like any other. */
const RARE = 2;
const MOST_MAPS = 64;

/** What was compared since a rollout began. */
export interface ComparedSoFar extends Compared {
  /** Objects whose keys are folded, as `GET /a $.users`; absent: none. */
  readonly maps?: readonly string[];
}

/** Both with their maps' keys folded, as far as they are known with this window. */
export function foldKeys(
  past: ComparedSoFar,
  window: Compared,
): { readonly past: ComparedSoFar; readonly window: Compared } {
  const known = new Set(past.maps);
  const fresh = mapsIn(past.fields, fold(window.fields, known, named(past.fields)));
  const maps = new Set([...known, ...fresh].slice(0, MOST_MAPS));
  if (maps.size === 0) return { past, window };
  const rest = fold(past.fields, maps, named(past.fields.filter((entry) => seen(entry) > RARE)));
  const own = fold(window.fields, maps, named(rest));
  return { past: { ...past, fields: rest, maps: [...maps] }, window: { ...window, fields: own } };
}

const seen = ({ canary, stable, both }: FieldEntry): number => canary + stable + both;
const nameOf = ({ route, field }: FieldEntry): string => `${route} ${field}`;
const named = (fields: readonly FieldEntry[]): ReadonlySet<string> => new Set(fields.map(nameOf));

/** Objects of which other keys differ now than before. */
function mapsIn(past: readonly FieldEntry[], window: readonly FieldEntry[]): string[] {
  const [before, now] = [keysByObject(past), keysByObject(window)];
  return [...now].flatMap(([object, keys]) => {
    const old = before.get(object);
    if (!old || old.size < LEAST_BEFORE) return [];
    const gone = [...old].filter((key) => !keys.has(key)).length;
    const all = keys.size + gone;
    return all > MOST_KEYS && all > old.size && 2 * gone >= old.size ? [object] : [];
  });
}

function keysByObject(fields: readonly FieldEntry[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { route, field } of fields)
    walk(field, (object, key) => {
      if (key === "{}") return key;
      const name = `${route} ${object}`;
      found.set(name, (found.get(name) ?? new Set()).add(key));
      return key;
    });
  return found;
}

/** Keys of `maps` become `{}`, but in fields that are `kept` by themselves. */
function fold(
  fields: readonly FieldEntry[],
  maps: ReadonlySet<string>,
  kept: ReadonlySet<string>,
): FieldEntry[] {
  const folded = Map.groupBy(fields, (entry) =>
    kept.has(nameOf(entry)) ? nameOf(entry) : nameOf(foldedOf(entry, maps)),
  );
  return [...folded.values()].flatMap((group) => {
    const [first] = group;
    if (!first) return [];
    const one = kept.has(nameOf(first)) ? first : foldedOf(first, maps);
    return group.every((entry) => nameOf(entry) === nameOf(one)) ? group : [asCoin(one, group)];
  });
}

const foldedOf = (entry: FieldEntry, maps: ReadonlySet<string>): FieldEntry => ({
  ...entry,
  field: walk(entry.field, (object, key) => (maps.has(`${entry.route} ${object}`) ? "{}" : key)),
});

function asCoin(entry: FieldEntry, group: readonly FieldEntry[]): FieldEntry {
  const sum = (pick: (one: FieldEntry) => number) => group.reduce((total, one) => total + pick(one), 0);
  const [canary, stable] = [sum((one) => one.canary), sum((one) => one.stable)];
  const isTold = canary !== stable;
  return {
    ...entry,
    canary: Number(canary > stable),
    stable: Number(stable > canary),
    both: Number(!isTold),
  };
}

/** The path with each key replaced by what is answered for it, from the outermost in; `object` is the path to what has the key. */
function walk(field: string, replace: (object: string, key: string) => string): string {
  const [root = "", ...segments] = field.split(".");
  if (!root.startsWith("$")) return field;
  return segments.reduce((object, segment) => {
    const [, key = "", rest = ""] = /^([^[ ]*)(.*)$/.exec(segment) ?? [];
    return `${object}.${replace(object, key)}${rest}`;
  }, root);
}
