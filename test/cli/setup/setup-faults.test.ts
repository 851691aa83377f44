import { createHash } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { Interrupted } from "../../../cli/io/problem.ts";
import { ask, connect } from "../../../cli/setup/cloudflare.ts";
import { changes, type Done, newDesk } from "../../support/cli/setup-desk.ts";
import { quickWrangler } from "../../support/cloudflare/quick-wrangler.ts";
import {
  API_TOKEN,
  type Cloudflare,
  type LoggedCall,
  startCloudflare,
} from "../../support/cloudflare/server.ts";

/** Setup cut short at every change that it makes, and run again. */

async function emptyAccount(isMigrated = true): Promise<Cloudflare> {
  const cloudflare = await startCloudflare({ scripts: [], isMigrated });
  onTestFinished(() => cloudflare.close());
  return cloudflare;
}

/** What is there in the end, whatever ids and secrets it got. */
function picture({ state }: Cloudflare) {
  return {
    databases: state.databases.map(({ name, sqlite }) => [
      name,
      sqlite.prepare("SELECT name FROM d1_migrations").all(),
    ]),
    namespaces: state.namespaces.map(({ title }) => title),
    domains: state.domains.map(({ hostname, service }) => [hostname, service]),
    serviceTokens: state.serviceTokens.map(({ name }) => name),
    workers: [...state.workers.values()].map(({ name, bindings, crons, classes, workersDev }) => ({
      name,
      crons,
      classes,
      workersDev,
      bindings: bindings.map((one) => `${one.type} ${one.name}`).sort(),
    })),
  };
}

/** Both Workers have the same key, and control knows the token that this machine has. */
function agreement({ state }: Cloudflare, token: string) {
  const secret = (worker: string, name: string) =>
    state.workers.get(worker)?.bindings.find((one) => one.name === name)?.text;
  return {
    shield: secret("sluice-control", "SHIELD_KEY") === secret("sluice-edge", "SHIELD_KEY"),
    admin:
      secret("sluice-control", "ADMIN_TOKEN_SHA256") === createHash("sha256").update(token).digest("hex"),
  };
}

/** Meets this very call of the log: so many like it come before. */
const faultAt = (log: readonly LoggedCall[], at: number) => {
  const { method = "", path = "" } = log[at] ?? {};
  const place = path.replace(/\?.*/, "");
  const isAlike = (one: LoggedCall) => one.method === method && one.path.includes(place);
  return { method, path: place, skip: log.slice(0, at).filter(isAlike).length };
};

interface Cut {
  readonly at: number;
  /** It comes after them. */
  readonly isMigrated: boolean;
}

/** Where setup is cut short. Of the migrations, which are all the same call, the first, one in the middle and the last. */
function cutsOf(log: readonly LoggedCall[]): Cut[] {
  const isMigration = (at: number) => log[at]?.path.endsWith("/query") ?? false;
  const migrations = [...log.keys()].filter(isMigration);
  const last = migrations.length - 1;
  const some = [0, last >> 1, last].map((nth) => migrations[nth]);
  const cuts = [...log.keys()].filter((at) => !isMigration(at) || some.includes(at));
  return cuts.map((at) => ({ at, isMigrated: at > (migrations[last] ?? 0) }));
}

test("Ctrl-C while Cloudflare is asked is an interruption, and no lost contact", async () => {
  const cloudflare = await emptyAccount();
  const interrupt = new AbortController();
  const push = cloudflare.log.push.bind(cloudflare.log);
  cloudflare.log.push = (...entries) => {
    interrupt.abort(new Interrupted());
    return push(...entries);
  };
  const sdk = connect({ token: API_TOKEN, baseUrl: cloudflare.url, signal: interrupt.signal });
  const make = () =>
    sdk.kv.namespaces.create({ account_id: cloudflare.state.account.id, title: "x" }, { maxRetries: 0 });
  await expect(ask("create the KV namespace", "kv", make)).rejects.toBeInstanceOf(Interrupted);
});

test("keeps the account's own workers.dev subdomain", async () => {
  const cloudflare = await emptyAccount();
  cloudflare.state.subdomain = "acme";
  expect(await newDesk({ cloudflare }).setup()).toMatchObject({ exit: 0 });
  expect(cloudflare.state.subdomain).toBe("acme");
});

test.each([
  ["is refused", { answer: 403 }],
  ["is done, and its answer lost", { answer: "drop", afterWork: true }],
] as const)(
  "ends whole when each change in turn %s and setup is run again",
  { timeout: 120_000 },
  async (_how, fault) => {
    const first = await emptyAccount(false);
    await newDesk({ cloudflare: first }).setup({ access: true });
    const whole = picture(first);
    const log = changes(first.log);
    const cuts = cutsOf(log);
    expect(cuts.length).toBeGreaterThan(12);
    for (const { at, isMigrated } of cuts) {
      const cloudflare = await emptyAccount(isMigrated);
      const desk = newDesk({ cloudflare });
      // A query that creates a table is one path with one that selects: the fault meets both, and the next one.
      cloudflare.fail({ ...fault, ...faultAt(log, at) });
      const cut = await desk.setup({ access: true });
      const done = await desk.setup({ access: true });
      const what = `${log[at]?.method} ${log[at]?.path}`;
      expect.soft({ what, exit: done.exit, ...picture(cloudflare) }).toEqual({ what, exit: 0, ...whole });
      expect
        .soft(agreement(cloudflare, JSON.parse(desk.read("cli.json")).token), what)
        .toEqual({ shield: true, admin: true });
      if (fault.answer === 403) expect.soft(cut.exit, what).not.toBe(0);
    }
  },
);

test.each(["control", "edge"] as const)(
  "run twice at once, replaces no key that the other one put into %s",
  async (which) => {
    const cloudflare = await emptyAccount();
    const first = newDesk({ cloudflare });
    const quick = quickWrangler(cloudflare.url);
    let other: Promise<Done> | undefined;
    const slow: typeof quick = (parts) => async (command) => {
      await quick(parts)(command);
      // While it deploys, the other one begins and ends.
      if (!command.what.includes(`sluice-${which}`)) return;
      other ??= first.setup({ access: true });
      await other;
    };
    const second = newDesk({ cloudflare, wrangler: slow });
    const { code, said } = await second.setup({ access: true });
    expect([code, (await other)?.exit]).toEqual(["conflict", 0]);
    expect(said).toMatch(/somebody else sets sluice up at the same time: sluice-edge has got \w+ since/);
    expect(agreement(cloudflare, JSON.parse(first.read("cli.json")).token)).toEqual({
      shield: true,
      admin: true,
    });
    expect(() => second.read("cli.json")).toThrow("ENOENT");
  },
);

test("names the permission of a refused write, and that nothing is lost by it", async () => {
  const cloudflare = await emptyAccount();
  cloudflare.fail({ method: "POST", path: "/storage/kv/namespaces", answer: 403 });
  const { code, said } = await newDesk({ cloudflare }).setup();
  expect(code).toBe("cloudflare_refused");
  expect(said).toContain("refused to create the KV namespace sluice-tables: Authentication error (10000)");
  expect(said).toContain("lacks `Account › Workers KV Storage › Edit`");
  expect(said).toContain("it goes on where it stopped");
});

test("waits for the rate limit, and goes on", async () => {
  const cloudflare = await emptyAccount();
  cloudflare.fail({ method: "GET", path: "/d1/database", answer: 429, retryAfterS: 0.05 });
  expect((await newDesk({ cloudflare }).setup()).exit).toBe(0);
});

const NEEDED = [
  "Account › Workers Scripts › Edit",
  "Account › D1 › Edit",
  "Account › Workers KV Storage › Edit",
  "Account › Cloudflare Tunnel › Edit",
  "Zone › Zone › Read",
  "Zone › DNS › Edit",
  "Zone › Workers Routes › Edit",
] as const;

test.each(NEEDED.slice(0, 3))(
  "a token that may read, not edit, is told %s, and goes on once it has it",
  async (lacking) => {
    const cloudflare = await emptyAccount();
    const readOnly = NEEDED.map((one) =>
      one === lacking ? (one.replace("Edit", "Read") as typeof one) : one,
    );
    cloudflare.state.tokens.set(API_TOKEN, readOnly);
    const desk = newDesk({ cloudflare });
    const { code, said } = await desk.setup();
    expect(code).toBe("cloudflare_refused");
    expect(said).toContain(`lacks \`${lacking}\``);
    cloudflare.state.tokens.set(API_TOKEN, [...NEEDED]);
    expect((await desk.setup()).exit).toBe(0);
  },
);

test("at the account's limit of Cron Triggers says whose it may be, and goes on once there is room", async () => {
  const cloudflare = await emptyAccount();
  const other = newDesk({ cloudflare });
  await other.setup({ name: "other", controlHostname: "other.example.com" });
  const theirs = cloudflare.state.workers.get("other-control");
  if (theirs) theirs.crons = ["1 * * * *", "2 * * * *", "3 * * * *", "4 * * * *", "5 * * * *"];
  const desk = newDesk({ cloudflare });
  const { code, said } = await desk.setup();
  expect(code).toBe("cloudflare_refused");
  expect(said).toMatch(/as many Cron Triggers as its plan allows \(5 on Free[\s\S]*goes on where it stopped/);
  theirs?.crons.pop();
  expect((await desk.setup()).exit).toBe(0);
  expect(cloudflare.state.workers.get("sluice-control")?.crons).toEqual(["* * * * *"]);
});

test("in a zone that takes no more routes is set up and torn down all the same: it makes none", async () => {
  const cloudflare = await startCloudflare({
    scripts: [],
    zones: [{ name: "example.com", maxRoutes: 0, maxRecords: 1 }],
  });
  onTestFinished(() => cloudflare.close());
  const desk = newDesk({ cloudflare });
  expect((await desk.setup()).exit).toBe(0);
  expect(cloudflare.state.routes).toEqual([]);
  expect((await desk.teardown({ name: "sluice", yes: true, deleteData: true })).exit).toBe(0);
  expect(cloudflare.state.workers.size).toBe(0);
});
