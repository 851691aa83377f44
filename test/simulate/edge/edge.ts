import { buildSync } from "esbuild";
import type { MeterBatch } from "../../../src/domain/routing/meter.ts";
import type { TableAnswer } from "../../../src/domain/routing/table.ts";
import type { Clock } from "../clock.ts";
import type { Dice } from "../dice.ts";

/** What one edge isolate is given in place of the platform. */
export interface Platform {
  readonly clock: Clock;
  readonly dice: Dice;
  fetch(url: string, init: { method?: string; headers: Headers }): Promise<unknown>;
  table(known: number | null): Promise<TableAnswer>;
  meter(batch: MeterBatch): Promise<void>;
  /** What KV holds. */
  copy(): unknown;
  /** The data centre's; absent: there is none. */
  readonly caches?: Pick<CacheStorage, "open">;
}

export interface Isolate {
  /** When control last answered it; 0: never. Epoch ms. */
  readonly heardAt: number;
  /** The edge Worker's own answer to a request. */
  visit(request: { id: string; method: string; cookie: string | null; path?: string }): Promise<Answer>;
}
export interface Answer {
  readonly status: number;
  readonly error: string | null;
}

type Make = (...globals: unknown[]) => { default: { fetch(...args: unknown[]): Promise<Response> } };
const GLOBALS = [
  "Date",
  "Math",
  "crypto",
  "fetch",
  "globalThis",
  "scheduler",
  "setTimeout",
  "clearTimeout",
  "caches",
  "console",
];
let made: Make | undefined;

/** The edge Worker as it is deployed, in one script: each call of it is a fresh isolate. */
function edgeWorker(): Make {
  if (made) return made;
  const { outputFiles } = buildSync({
    entryPoints: [new URL("../../../src/edge/worker.ts", import.meta.url).pathname],
    bundle: true,
    write: false,
    format: "cjs",
    target: "es2024",
  });
  const [bundle] = outputFiles;
  if (!bundle) throw new Error("esbuild made nothing of the edge");
  const script = `const module = { exports: {} };\n${bundle.text}\nreturn module.exports;`;
  made = new Function(...GLOBALS, script) as Make;
  return made;
}

const HOSTNAME = "shop.example.com";
const DISCARD = { log() {}, warn() {}, error() {} };

/** A fresh isolate of the real edge in virtual time. Timers and caches are the simulation's. */
export function openIsolate(platform: Platform): Isolate {
  const { clock, dice } = platform;
  const timers = new Set<object>();
  const setTimer = (run: () => void, ms: number) => {
    const timer = {};
    timers.add(timer);
    clock.after(ms, () => {
      if (!timers.delete(timer)) return;
      run();
      return macrotask();
    });
    return timer;
  };
  const worker = edgeWorker()(
    dateOf(clock),
    Object.create(Math, { random: { value: () => dice.next() } }),
    { randomUUID: () => `${dice.int(0, 1e9)}-${dice.int(0, 1e9)}`.padEnd(20, "0") },
    platform.fetch,
    { fetch: platform.fetch },
    { wait: (ms: number) => new Promise<void>((resolve) => setTimer(resolve, ms)) },
    setTimer,
    (timer: object) => timers.delete(timer),
    platform.caches ?? { open: () => Promise.reject(new Error("no cache")) },
    DISCARD,
  );
  let heardAt = 0;
  const CONTROL = {
    table: async (_: string, known: number | null) => {
      const answer = await platform.table(known);
      heardAt = clock.now;
      return answer;
    },
    meter: (batch: MeterBatch) => platform.meter(batch),
  };
  const env = { CONTROL, TABLES: { get: async () => platform.copy(), list: async () => ({ keys: [] }) } };
  const ctx = { waitUntil: (promise: Promise<unknown>) => void promise.catch(() => {}) };
  return {
    get heardAt() {
      return heardAt;
    },
    async visit({ id, method, cookie, path = "/" }) {
      const headers = new Headers({ "x-request-id": id, accept: "application/json" });
      if (cookie !== null) headers.set("cookie", `__Host-sluice_visitor=${cookie}`);
      const request = { url: `https://${HOSTNAME}${path}`, method, headers, body: null, cf: { colo: "AMS" } };
      const response = await worker.default.fetch(request, env, ctx);
      return { status: response.status, error: response.headers.get("x-sluice-error") };
    },
  };
}

const dateOf = (clock: Clock) =>
  class extends Date {
    constructor(at?: number | string) {
      super(at ?? clock.now);
    }
    static override now = () => clock.now;
  };

/** Lets everything that promises hold back happen before time goes on. */
export const macrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
