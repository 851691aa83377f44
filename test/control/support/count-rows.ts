/** A D1 binding that sums the rows which its statements read, by D1's own count. */
export function countRows(db: D1Database): { counted: { read: number }; DB: D1Database } {
  const counted = { read: 0 };
  const note = <T>(answer: T): T => {
    for (const one of Array.isArray(answer) ? answer : [answer])
      counted.read += (one as D1Result | null)?.meta?.rows_read ?? 0;
    return answer;
  };
  const DB = new Proxy(db, {
    get(target, key) {
      if (key === "prepare") return (sql: string) => statement(target.prepare(sql), note);
      if (key === "batch")
        return async (all: Wrapped[]) => note(await target.batch(all.map((one) => one[RAW])));
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { counted, DB };
}

const RAW = Symbol("raw");
type Wrapped = D1PreparedStatement & { readonly [RAW]: D1PreparedStatement };

function statement(raw: D1PreparedStatement, note: <T>(answer: T) => T): D1PreparedStatement {
  return new Proxy(raw, {
    get(target, key) {
      if (key === RAW) return target;
      if (key === "bind") return (...values: unknown[]) => statement(target.bind(...values), note);
      if (key === "all" || key === "run") return async () => note(await target[key]());
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
