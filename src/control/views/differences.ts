export interface Difference {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** What changes from one manifest or spec to the next, per key path. */
export function differences(before: object, after: object): Difference[] {
  const [old, next] = [flatten(before), flatten(after)];
  return [...new Set([...old.keys(), ...next.keys()])].flatMap((path) => {
    const change = { path, before: old.get(path) ?? null, after: next.get(path) ?? null };
    return JSON.stringify(change.before) === JSON.stringify(change.after) ? [] : [change];
  });
}

/** Key path → value. Lists and scalars are values; a map without entries is as good as none. */
function flatten(value: unknown, path: readonly string[] = []): Map<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return new Map([[path.join("."), value]]);
  const entries = Object.entries(value).filter(([, part]) => part !== undefined);
  return new Map(entries.flatMap(([key, part]) => [...flatten(part, [...path, key])]));
}
