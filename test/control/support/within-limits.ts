import type { ControlEnv } from "../../../src/control/env.ts";
import { LIMITS } from "../../support/runtime-limits.ts";
import { bytesOf } from "./bytes-of.ts";
import { asInvocation, invocation } from "./invocation.ts";
import { limitedBucket, limitedKv, limitedObjects } from "./limited-services.ts";
import { limitStorage } from "./limited-storage.ts";

/** Control's bindings as Cloudflare would bind them. `clock`: the time that whoever has them goes by. */
export function withinLimits<E extends Pick<ControlEnv, "DB" | "TABLES">>(
  bindings: E,
  clock: () => number = Date.now,
): E {
  const given: Partial<ControlEnv> = bindings;
  const objects = OBJECTS.flatMap((name) => {
    const namespace = given[name];
    return namespace ? [[name, limitedObjects(namespace)]] : [];
  });
  return {
    ...bindings,
    ...Object.fromEntries(objects),
    ...(given.IMAGES ? { IMAGES: limitedBucket(given.IMAGES) } : {}),
    DB: limitedDatabase(bindings.DB),
    TABLES: limitedKv(bindings.TABLES, clock),
  };
}

const OBJECTS = ["COORDINATOR", "METER", "HOST_LINK", "LOG_RELAY", "NOTIFIER", "AUDITOR"] as const;

/** A D1 binding that refuses what Cloudflare would. `begin`: another invocation begins. */
export function withinD1Limits(db: D1Database): { DB: D1Database; begin: () => void; most: () => number } {
  let queries = 0;
  let most = 0;
  const query = () => {
    queries += 1;
    most = Math.max(most, queries);
    if (queries > LIMITS.d1.queriesOnFree) throw new Error("D1_ERROR: too many queries by one invocation");
  };
  const begin = () => {
    queries = 0;
  };
  return { DB: limitedDatabase(db, query), begin, most: () => most };
}

function limitedDatabase(db: D1Database, query = () => invocation()?.query()): D1Database {
  return new Proxy(db, {
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
}

function checked(text: string): string {
  const bytes = bytesOf(text, LIMITS.d1.statementBytes);
  if (bytes > LIMITS.d1.statementBytes) throw new Error(`D1_ERROR: a statement of ${bytes} bytes`);
  return text;
}

function checkValues(values: readonly unknown[]): void {
  if (values.length > LIMITS.d1.parameters) throw new Error(`D1_ERROR: ${values.length} parameters`);
  for (const value of values) {
    const bytes =
      typeof value === "string"
        ? bytesOf(value, LIMITS.d1.valueBytes)
        : value instanceof ArrayBuffer
          ? value.byteLength
          : 0;
    if (bytes > LIMITS.d1.valueBytes) throw new Error(`D1_ERROR: string or blob too big: ${bytes} bytes`);
  }
}

function limited(statement: D1PreparedStatement, query: () => void): D1PreparedStatement {
  return new Proxy(statement, {
    get(target, key) {
      const value = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      if (key === "bind")
        return (...values: unknown[]) => {
          checkValues(values);
          return limited(target.bind(...values), query);
        };
      return async (...args: unknown[]) => {
        query();
        return value.apply(target, args);
      };
    },
  });
}

/** A `fetch` with the limits of the invocation that calls it. */
export const withinFetchLimits =
  (answer: typeof fetch): typeof fetch =>
  async (...args) => {
    checkHead(new Request(...args));
    const caller = invocation();
    if (!caller) return answer(...args);
    caller.subrequest();
    const response = await caller.connect(() => answer(...args));
    if (response.redirected) caller.subrequest();
    return response;
  };

function checkHead({ url, headers }: Pick<Request, "url" | "headers">): void {
  const bytes = [...headers].reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > LIMITS.fetch.headerBytes) throw new Error(`431: headers of ${bytes} bytes`);
  if (url.length > LIMITS.fetch.urlChars) throw new Error(`414: a URL of ${url.length} characters`);
}

/** Of a request that a test sends. Throws where Cloudflare would not let it through to a Worker. */
export function checkRequest(request: Request): void {
  checkHead(request);
  const body = Number(request.headers.get("content-length") ?? 0);
  if (body > LIMITS.fetch.bodyBytes) throw new Error(`413: a body of ${body} bytes`);
}

type ObjectClass = new (state: DurableObjectState, env: ControlEnv) => object;

/** One of control's classes, each of whose events is an invocation within the limits. */
export function limitedObject<C extends ObjectClass>(Base: C): C {
  class Limited extends (Base as ObjectClass) {
    /** Own property of those classes whose time a test may move. */
    declare readonly clock?: () => number;

    constructor(state: DurableObjectState, given: ControlEnv) {
      super(
        limitStorage(state),
        withinLimits({ ...given }, () => this?.clock?.() ?? Date.now()),
      );
    }
  }
  for (const name of Object.getOwnPropertyNames(Base.prototype)) {
    const method = Object.getOwnPropertyDescriptor(Base.prototype, name)?.value as unknown;
    if (name === "constructor" || typeof method !== "function") continue;
    Object.defineProperty(Limited.prototype, name, {
      configurable: true,
      writable: true,
      value(this: object, ...args: unknown[]) {
        return asInvocation(() => method.apply(this, args));
      },
    });
  }
  return Limited as unknown as C;
}
