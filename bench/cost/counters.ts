/**
 * A module around control that counts everything Cloudflare bills, by the runtime's own numbers where it has them: rows of D1 from
 * each answer's `meta`, rows of an object's SQL from its cursors; of its key-value calls and alarms as the pricing page counts them
 * (a row for each key). Time: from an event's begin to its end, of overlapping ones once; what is idle can hibernate, and is not billed.
 *
 * `/bench/counts` answers what was counted. `/bench/tick` runs the sweep so many times. `/bench/edge` does what an edge isolate
 * asks by its service binding, in an order and at times that the caller gives: a day takes as long as its work.
 */
export const COUNTING = `
import { AsyncLocalStorage } from "node:async_hooks";
import control, * as all from "./control.mjs";
export * from "./control.mjs";

const counts = {
  workerRequests: 0, objectRequests: 0, objectGbS: 0, objectRead: 0, objectWritten: 0,
  d1Read: 0, d1Written: 0, kvRead: 0, kvWritten: 0,
};
const polls = { count: 0 };
let ahead = 0;

const RAW = Symbol();
const note = (answer) => {
  for (const one of Array.isArray(answer) ? answer : [answer]) {
    counts.d1Read += one?.meta?.rows_read ?? 0;
    counts.d1Written += one?.meta?.rows_written ?? 0;
  }
  return answer;
};
const statement = (raw, text) => new Proxy(raw, {
  get(target, key) {
    if (key === RAW) return target;
    if (key === "bind") return (...values) => statement(target.bind(...values), text);
    if (key === "all" || key === "run") return async (...args) => note(await target[key](...args));
    if (key === "raw" || key === "first") return async (...args) => {
      // These answers have no meta. Reading twice changes nothing; what writes is counted by what it answers.
      if (/^\\s*(select|with)/i.test(text)) note(await target.all());
      const answer = await target[key](...args);
      if (!/^\\s*(select|with)/i.test(text)) counts.d1Written += Array.isArray(answer) ? answer.length : 1;
      return answer;
    };
    const value = Reflect.get(target, key);
    return typeof value === "function" ? value.bind(target) : value;
  },
});
const database = (db) => new Proxy(db, {
  get(target, key) {
    if (key === "prepare") return (text) => statement(target.prepare(text), text);
    if (key === "batch") return async (many) => note(await target.batch(many.map((one) => one[RAW] ?? one)));
    const value = Reflect.get(target, key);
    return typeof value === "function" ? value.bind(target) : value;
  },
});
const kv = (store) => new Proxy(store, {
  get(target, key) {
    const value = Reflect.get(target, key);
    if (typeof value !== "function") return value;
    return (...args) => {
      if (key === "get") counts.kvRead += 1;
      if (key === "put" || key === "delete") counts.kvWritten += 1;
      return value.apply(target, args);
    };
  },
});
const around = (env) => ({ ...env, DB: database(env.DB), TABLES: kv(env.TABLES) });

const many = (first) => Array.isArray(first) ? first.length : typeof first === "object" ? Object.keys(first).length : 1;
const STORED = {
  get: (first) => { counts.objectRead += many(first); },
  getAlarm: () => { counts.objectRead += 1; },
  put: (first) => { counts.objectWritten += many(first); },
  delete: (first) => { counts.objectWritten += many(first); },
  deleteAll: () => { counts.objectWritten += 1; },
  setAlarm: () => { counts.objectWritten += 1; },
  deleteAlarm: () => { counts.objectWritten += 1; },
};
const watch = (state, cursors) => {
  const { storage } = state;
  const sql = () => new Proxy(storage.sql, {
    get(target, key) {
      const value = Reflect.get(target, key, target);
      if (key === "exec") return (...args) => {
        const cursor = value.apply(target, args);
        cursors.push(cursor);
        return cursor;
      };
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const value = new Proxy(storage, {
    get(target, key) {
      if (key === "sql") return sql();
      const found = Reflect.get(target, key, target);
      if (typeof found !== "function") return found;
      return (...args) => {
        STORED[key]?.(args[0]);
        const answer = found.apply(target, args);
        if (key === "list") answer.then((rows) => { counts.objectRead += rows.size; });
        return answer;
      };
    },
  });
  Object.defineProperty(state, "storage", { configurable: true, value });
  return state;
};

const inside = new AsyncLocalStorage();
const counted = (Base) => {
  class Counted extends Base {
    #cursors;
    #active = 0;
    #since = 0;
    constructor(state, env) {
      const cursors = [];
      super(watch(state, cursors), around(env));
      this.#cursors = cursors;
      if (Base === all.Meter) this.clock = () => Date.now() + ahead;
    }
    static event(object, work) {
      counts.objectRequests += 1;
      if (object.#active++ === 0) object.#since = performance.now();
      const over = () => {
        for (const { rowsRead, rowsWritten } of object.#cursors.splice(0)) {
          counts.objectRead += rowsRead;
          counts.objectWritten += rowsWritten;
        }
        if (--object.#active === 0) counts.objectGbS += ((performance.now() - object.#since) / 1000) * 0.128;
      };
      const answer = inside.run(object, work);
      if (typeof answer?.then !== "function") { over(); return answer; }
      return answer.finally(over);
    }
  }
  for (const name of Object.getOwnPropertyNames(Base.prototype)) {
    const method = Object.getOwnPropertyDescriptor(Base.prototype, name).value;
    if (name === "constructor" || typeof method !== "function") continue;
    Counted.prototype[name] = function (...args) {
      const work = () => method.apply(this, args);
      return inside.getStore() === this ? work() : Counted.event(this, work);
    };
  }
  return Counted;
};
export const Auditor = counted(all.Auditor);
export const Coordinator = counted(all.Coordinator);
export const HostLink = counted(all.HostLink);
export const LogRelay = counted(all.LogRelay);
export const Meter = counted(all.Meter);
export const Notifier = counted(all.Notifier);
export class EdgePort extends all.EdgePort {
  constructor(ctx, env) { super(ctx, around(env)); }
}

async function bench(request, env, ctx) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/bench/tick") {
    for (let n = Number(searchParams.get("times")); n > 0; n--) {
      counts.workerRequests += 1;
      await control.scheduled({ cron: "* * * * *", scheduledTime: Date.now() }, around(env), ctx);
    }
  }
  if (pathname === "/bench/table")
    return Response.json(await new EdgePort(ctx, env).table(searchParams.get("hostname"), null));
  if (pathname === "/bench/edge") {
    const port = new EdgePort(ctx, env);
    for (const { at, hostname, known, batch } of await request.json()) {
      ahead = at === null ? 0 : at - Date.now();
      if (hostname !== undefined) await port.table(hostname, known);
      if (batch !== undefined) await port.meter(batch);
    }
    ahead = 0;
  }
  return Response.json({ ...counts, polls: polls.count });
}

export default {
  ...control,
  fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/bench/")) return bench(request, env, ctx);
    counts.workerRequests += 1;
    if (pathname === "/agent/v1/poll") polls.count += 1;
    return control.fetch(request, around(env), ctx);
  },
  scheduled(event, env, ctx) {
    counts.workerRequests += 1;
    return control.scheduled(event, around(env), ctx);
  },
};
`;
