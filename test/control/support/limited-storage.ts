import { LIMITS } from "../../support/runtime-limits.ts";
import { bytesOf } from "./bytes-of.ts";

const { storage: MOST } = LIMITS;

/** The size of a value as stored, near enough: of its JSON, or of its bytes. */
const sizeOf = (value: unknown, most: number): number =>
  value instanceof Uint8Array || value instanceof ArrayBuffer
    ? value.byteLength
    : bytesOf(
        JSON.stringify(value, (_key, one) => (typeof one === "bigint" ? String(one) : one)) ?? "",
        most,
      );

function checkEntry(key: string, value: unknown): void {
  const bytes = bytesOf(key) + sizeOf(value, MOST.entryBytes / 2);
  if (bytes > MOST.entryBytes)
    throw new RangeError(`Values cannot be larger than 2097152 bytes: ${key} has ${bytes}`);
}

function checkKeys(count: number): void {
  if (count > MOST.keys) throw new RangeError(`Maximum number of keys is ${MOST.keys}: ${count}`);
}

/** What is asked of `get`, `put` and `delete`. */
function check(name: string, [first, second]: readonly unknown[]): void {
  if (Array.isArray(first)) return checkKeys(first.length);
  if (name !== "put") return;
  if (typeof first === "string") return checkEntry(first, second);
  const entries = Object.entries((first ?? {}) as Record<string, unknown>);
  checkKeys(entries.length);
  for (const [key, value] of entries) checkEntry(key, value);
}

/** The state whose storage refuses what Cloudflare's would: the same object, since the runtime takes no other. */
export function limitStorage(state: DurableObjectState): DurableObjectState {
  const { storage } = state;
  const sql = limitedSql(storage);
  const value = new Proxy(storage, {
    get(target, name) {
      if (name === "sql") return sql();
      const found = Reflect.get(target, name, target);
      if (typeof found !== "function") return found;
      if (name !== "get" && name !== "put" && name !== "delete") return found.bind(target);
      return (...args: unknown[]) => {
        check(name, args);
        return found.apply(target, args);
      };
    },
  });
  Object.defineProperty(state, "storage", { configurable: true, value });
  return state;
}

function limitedSql(storage: DurableObjectStorage): () => SqlStorage {
  return () =>
    new Proxy(storage.sql, {
      get(target, name) {
        const found = Reflect.get(target, name, target);
        if (typeof found !== "function") return found;
        if (name !== "exec") return found.bind(target);
        return (query: string, ...bindings: unknown[]) => {
          const bytes = bytesOf(query, MOST.statementBytes);
          if (bytes > MOST.statementBytes) throw new Error(`statement too long: ${bytes}`);
          if (bindings.length > MOST.parameters)
            throw new Error(`too many SQL variables: ${bindings.length}`);
          for (const value of bindings)
            if (typeof value === "string" && bytesOf(value, MOST.entryBytes) > MOST.entryBytes)
              throw new Error("string or blob too big");
          return found.call(target, query, ...bindings);
        };
      },
    });
}
