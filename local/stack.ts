import { Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker, compatibilityDate } from "./bundle.ts";
import { slotDoors } from "./doors.ts";
import { migrate } from "./migrate.ts";

/**
 * Both Workers in one workerd on this machine, with D1, Durable Objects and KV on disk: the code that is deployed, none
 * of it changed. Each Worker listens on a socket of its own, past Miniflare's entry Worker, which would cost half the speed.
 */
export interface StackOptions {
  readonly stateDir: string;
  /** 0: any free port. */
  readonly edgePort: number;
  readonly controlPort: number;
  /** SHA-256 (hex) of the first admin token. */
  readonly adminTokenSha256: string;
  /** `<key id>:<32 bytes, base64>`. */
  readonly secretsKey: string;
  readonly version: string;
  /** Ports of this machine's slots: by these ways in apps get their public name as `Host`. */
  readonly slotPorts?: { readonly first: number; readonly count: number };
  /** More bindings of control: those of a Cloudflare account, for tests. */
  readonly bindings?: Readonly<Record<string, string>>;
  /** A module around control's Worker, which is `./control.mjs` to it: what a benchmark counts with. */
  readonly around?: string;
  /** Writes also what goes as it should. */
  readonly isTelling?: boolean;
  /** Where workerd's inspector listens: what a benchmark looks into heaps with. */
  readonly inspectorPort?: number;
}

export interface Stack {
  readonly edgeUrl: string;
  readonly controlUrl: string;
  dispose(): Promise<void>;
}

/** Cloudflare's cron runs each minute; nothing here does so by itself. */
const CRON_MS = 60_000;
const HOST = "127.0.0.1";
const INFO = '{"level":"info"';
/** What workerd says of Miniflare's own calls, and nobody here can change. */
const NOISE = ["An RPC result was not disposed properly", "NOSENTRY"];

export async function startStack(options: StackOptions): Promise<Stack> {
  const [control, edge, date] = await Promise.all([
    bundleWorker("control"),
    bundleWorker("edge"),
    compatibilityDate(),
  ]);
  const before = signalListeners();
  const miniflare = new Miniflare({
    cf: false,
    port: 0,
    host: HOST,
    ...(options.inspectorPort !== undefined && { inspectorPort: options.inspectorPort }),
    log: new Log(LogLevel.ERROR),
    handleStructuredLogs: ({ message }) => {
      if (!options.isTelling && message.startsWith(INFO)) return;
      if (!NOISE.some((text) => message.includes(text))) console.error(message);
    },
    resourcePersistencePath: options.stateDir,
    workers: [controlWorker(options, control, date), edgeWorker(options, edge, date)],
  });
  try {
    await miniflare.ready;
    keepSignals(before);
    await migrate(await miniflare.getD1Database("DB", "control"));
    const edgeUrl = origin(await miniflare.unsafeGetDirectURL("edge"));
    const controlUrl = origin(await miniflare.unsafeGetDirectURL("control"));
    return running(miniflare, { edgeUrl, controlUrl });
  } catch (error) {
    // Else its workerd goes on, and keeps whoever started it from ending.
    await miniflare.dispose();
    throw error;
  }
}

function running(miniflare: Miniflare, urls: { edgeUrl: string; controlUrl: string }): Stack {
  const cron = setInterval(() => void runCron(miniflare), CRON_MS);
  return {
    ...urls,
    dispose: async () => {
      clearInterval(cron);
      await miniflare.dispose();
    },
  };
}

const controlWorker = (options: StackOptions, code: string, date: string) => ({
  config: {
    name: "control",
    compatibilityDate: date,
    manifest: options.around === undefined ? module(code) : wrapped(options.around, code),
    env: {
      DB: { type: "d1" as const, id: "sluice" },
      TABLES: { type: "kv" as const, id: "tables" },
      IMAGES: { type: "r2" as const, name: "images" },
      ...Object.fromEntries(Object.entries(OBJECTS).map(([name, exportName]) => [name, object(exportName)])),
      ADMIN_TOKEN_SHA256: text(options.adminTokenSha256),
      SECRETS_KEY: text(options.secretsKey),
      VERSION: text(options.version),
      NOTIFY_LOOPBACK: text("allowed"),
      ...textBindings(options.bindings),
      ...slotDoors(originsOf(options.slotPorts)),
    },
    exports: Object.fromEntries(Object.values(OBJECTS).map((name) => [name, STORED])),
  },
  dev: { unsafeDirectSockets: [{ host: HOST, port: options.controlPort }] },
});

const edgeWorker = (options: StackOptions, code: string, date: string) => ({
  config: {
    name: "edge",
    compatibilityDate: date,
    manifest: module(code),
    env: {
      CONTROL: { type: "worker" as const, worker: "control", exportName: "EdgePort" },
      TABLES: { type: "kv" as const, id: "tables" },
      ...slotDoors(originsOf(options.slotPorts)),
    },
  },
  dev: { stripCfConnectingIp: false, unsafeDirectSockets: [{ host: HOST, port: options.edgePort }] },
});

/** Control's Durable Objects: binding → class. */
const OBJECTS = {
  COORDINATOR: "Coordinator",
  METER: "Meter",
  HOST_LINK: "HostLink",
  LOG_RELAY: "LogRelay",
  NOTIFIER: "Notifier",
  AUDITOR: "Auditor",
} as const;
const STORED = { type: "durable-object", storage: "sqlite" } as const;
const object = (exportName: string) => ({ type: "durable-object" as const, worker: "control", exportName });
const text = (value: string) => ({ type: "text" as const, value });

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const signalListeners = () => new Map(SIGNALS.map((signal) => [signal, process.listeners(signal)]));

/** Miniflare ends the process on a signal, at once. Whoever started the stack has more to undo, and calls `dispose`. */
function keepSignals(before: ReturnType<typeof signalListeners>): void {
  for (const signal of SIGNALS) {
    for (const listener of process.listeners(signal)) {
      if (!before.get(signal)?.includes(listener)) process.removeListener(signal, listener);
    }
  }
}

const module = (contents: string) => ({
  mainModule: "worker.mjs",
  modules: { "worker.mjs": { type: "esm" as const, contents } },
});

const wrapped = (around: string, control: string) => {
  const { modules, ...manifest } = module(around);
  return { ...manifest, modules: { ...modules, "control.mjs": { type: "esm" as const, contents: control } } };
};

const origin = (url: URL): string => url.origin;

const textBindings = (values: Readonly<Record<string, string>> = {}) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, text(value)]));

const originsOf = ({ first, count } = { first: 0, count: 0 }): string[] =>
  Array.from({ length: count }, (_, n) => `http://${HOST}:${first + n}`);

async function runCron(miniflare: Miniflare): Promise<void> {
  try {
    const control = await miniflare.getWorker("control");
    await control.scheduled({ cron: "* * * * *" });
  } catch (error) {
    console.error(
      `the sweep failed, the next is in a minute: ${error instanceof Error ? error.message : error}`,
    );
  }
}
