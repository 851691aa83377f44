import { LIMITS } from "../../support/limits.ts";

/** A D1 binding that refuses what Cloudflare would. `begin`: another invocation begins. */
export function withinD1Limits(db: D1Database): { DB: D1Database; begin: () => void; most: () => number } {
  let queries = 0;
  let most = 0;
  const query = () => {
    queries += 1;
    most = Math.max(most, queries);
    if (queries > LIMITS.d1.queriesOnFree) throw new Error("D1_ERROR: too many queries by one invocation");
  };
  const DB = new Proxy(db, {
    get(target, key) {
      if (key === "prepare") return (text: string) => limited(target.prepare(checked(text)), query);
      const value = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        query();
        return value.apply(target, args);
      };
    },
  });
  const begin = () => {
    queries = 0;
  };
  return { DB, begin, most: () => most };
}

function checked(text: string): string {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > LIMITS.d1.statementBytes) throw new Error(`D1_ERROR: a statement of ${bytes} bytes`);
  return text;
}

function limited(statement: D1PreparedStatement, query: () => void): D1PreparedStatement {
  return new Proxy(statement, {
    get(target, key) {
      const value = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      if (key === "bind")
        return (...values: unknown[]) => {
          if (values.length > LIMITS.d1.parameters) throw new Error(`D1_ERROR: ${values.length} parameters`);
          return limited(target.bind(...values), query);
        };
      return async (...args: unknown[]) => {
        query();
        return value.apply(target, args);
      };
    },
  });
}

/** A `fetch` with Cloudflare's connections: the next one queues until the head of another's response is there. */
export function withinConnections(answer: typeof fetch): { fetch: typeof fetch; most: () => number } {
  let open = 0;
  let most = 0;
  const queue: (() => void)[] = [];
  const limitedFetch: typeof fetch = async (...args) => {
    if (open >= LIMITS.fetch.connections) await new Promise<void>((resolve) => queue.push(resolve));
    open += 1;
    most = Math.max(most, open + queue.length);
    try {
      return await answer(...args);
    } finally {
      open -= 1;
      queue.shift()?.();
    }
  };
  return { fetch: limitedFetch, most: () => most };
}
