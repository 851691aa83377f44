import type { ProcessSpec } from "../../src/domain/processes/process.ts";
import type { AnalysisSpec, EnvironmentSpec, Step, StrategySpec } from "../../src/domain/spec.ts";
import { aSpec, weightStep } from "../domain/rollout/spec.ts";
import { Dice } from "./dice.ts";

/** How the app in a release's image behaves. Times in ms. */
export interface App {
  readonly pulls: boolean;
  readonly bootMs: number;
  /** `exits`: ends before it is ready, each time; `hangs`: never gets ready. */
  readonly boot: "good" | "exits" | "hangs";
  /** After this long of being ready it ends, on the instances named; for good: no restart helps. */
  readonly ends: {
    readonly afterMs: number;
    readonly which: "all" | "half" | "one";
    readonly forGood: boolean;
  } | null;
  /** Share of answers that are a 500. */
  readonly errorRate: number;
  readonly smoke: "good" | "bad before" | "bad after";
  readonly hookMs: number;
  readonly hookFails: boolean;
}

type Which = "one" | "half" | "all";
type Of = "newest" | "stable" | "any" | "last two";

/** One thing that somebody or something does, at a time (ms from the start). Plain data: a story can be told without any of them. */
export type Act = { readonly at: number } & (
  | {
      readonly do: "deploy";
      readonly app: App;
      readonly whenBusy: "queue" | "reject" | "supersede";
      readonly hold: boolean;
    }
  | { readonly do: "abort" | "pause" | "resume" | "unlock"; readonly twice: boolean }
  | { readonly do: "promote"; readonly full: boolean; readonly twice: boolean }
  | { readonly do: "rollback"; readonly twice: boolean; readonly older: boolean }
  | { readonly do: "weigh"; readonly share: number; readonly third: boolean }
  | { readonly do: "lock"; readonly forMs: number }
  | { readonly do: "apply"; readonly change: Partial<EnvironmentSpec> }
  | { readonly do: "end"; readonly which: Which; readonly of: Of; readonly forGood: boolean }
  | { readonly do: "remove container"; readonly which: Which; readonly of: Of }
  | { readonly do: "freeze"; readonly which: Which; readonly of: Of; readonly forMs: number }
  | { readonly do: "agent ends" | "host ends"; readonly host: number; readonly forMs: number }
  | {
      readonly do: "cut";
      readonly host: number;
      readonly from: "control" | "visitors" | "both";
      readonly forMs: number;
    }
  | { readonly do: "control ends"; readonly forMs: number }
  | { readonly do: "edge begins" }
  | { readonly do: "edge cut"; readonly forMs: number }
  | { readonly do: "clock jumps"; readonly byMs: number }
  | { readonly do: "remove host"; readonly host: number }
  | { readonly do: "enrol host"; readonly slots: number }
  | {
      readonly do: "drain host";
      readonly host: number;
      readonly force: boolean;
      /** Null: it stays so; or it is removed as soon as it is empty. */
      readonly then: { readonly undoAfterMs: number } | "remove" | null;
    }
  | { readonly do: "destroy"; readonly twice: boolean }
  | { readonly do: "restart"; readonly twice: boolean }
  | { readonly do: "scale"; readonly web: number | null; readonly worker: number | null }
  | { readonly do: "run"; readonly deadlineMs: number; readonly twice: boolean }
  | { readonly do: "end in turn"; readonly of: Of; readonly everyMs: number; readonly times: number }
  | {
      readonly do: "take port";
      /** The slot's number. */
      readonly slot: number;
      readonly host: number | "all";
      readonly forMs: number;
    }
);

export interface Scenario {
  readonly seed: number;
  /** Nothing but people, and apps that may be bad. */
  readonly isPlain: boolean;
  readonly spec: EnvironmentSpec;
  /** Slots of each host. */
  readonly hosts: readonly number[];
  /** Shares of messages. */
  readonly network: { readonly lost: number; readonly twice: number; readonly slowMs: number };
  /** Share of stops that an engine answers with an error. */
  readonly stopsFail: number;
  /** How often a host polls while it works. */
  readonly busyMs: number;
  readonly isolates: number;
  readonly visitEveryMs: number;
  readonly acts: readonly Act[];
  /** From here on nobody does anything any more, and all that can be mended is. */
  readonly quietAt: number;
}

const MINUTE = 60_000;

/** The scenario of a seed. */
export function scenarioOf(seed: number, isPlain = false): Scenario {
  const dice = new Dice(seed, "scenario");
  const replicas = dice.pick([1, 1, 2, 2, 2, 3, 3, 4, 6]);
  const hosts = hostsFor(dice, replicas);
  const spec = {
    ...specOf(dice, replicas),
    ...(isPlain ? {} : { processes: processesOf(seed), watch: watchOf(seed) }),
  };
  const acts: Act[] = [{ at: 0, do: "deploy", app: GOOD, whenBusy: "queue", hold: false }];
  const deploys = isPlain ? dice.int(1, 2) : dice.int(1, 4);
  let at = 0;
  for (let n = 0; n < deploys; n++) {
    at += dice.pick([30_000, 90_000, 150_000, 240_000]) + dice.int(0, 20_000);
    acts.push(deployAt(dice, at));
    const company = isPlain ? dice.int(0, 1) : dice.pick([0, 1, 1, 2, 2, 3, 4]);
    for (let k = 0; k < company; k++) {
      const when = at + dice.pick([0, 500, 3_000, 12_000, 40_000, 90_000]) + dice.int(0, 15_000);
      acts.push(isPlain ? personAt(dice, when) : actAt(dice, when, hosts.length));
    }
  }
  if (!isPlain) acts.push(...furtherActs(seed, { until: at + MINUTE, hosts: hosts.length }));
  if (!isPlain) acts.push(...blows(seed, at + MINUTE));
  if (!isPlain) acts.push(...silences(seed, { until: at + MINUTE, hosts: hosts.length, spec }));
  const quietAt = Math.max(...acts.map((act) => act.at)) + 2 * MINUTE;
  const bad = !isPlain && dice.chance(0.5);
  return {
    seed,
    isPlain,
    spec,
    hosts,
    network: { lost: bad ? 0.05 : 0, twice: bad ? 0.05 : 0, slowMs: bad ? 1_500 : 20 },
    stopsFail: isPlain ? 0 : 0.03,
    busyMs: isPlain ? 10_000 : 1_000,
    isolates: dice.int(1, 3),
    visitEveryMs: dice.pick([1_500, 2_500, 4_000]),
    acts: acts.sort((a, b) => a.at - b.at),
    quietAt,
  };
}

/** Tight: hardly two sets of instances fit; wide: many do. */
function hostsFor(dice: Dice, replicas: number): number[] {
  const count = dice.int(1, 3);
  const sets = dice.pick([1, 1.5, 2, 2, 3, 4]);
  return Array.from({ length: count }, () => Math.max(1, Math.ceil((replicas * sets) / count)));
}

function specOf(dice: Dice, replicas: number): EnvironmentSpec {
  return aSpec({
    replicas,
    strategy: strategyOf(dice),
    keepMs: dice.pick([0, 30_000, 120_000, 600_000]),
    drainMs: dice.pick([0, 5_000, 20_000]),
    stopGraceMs: 5_000,
    hooks: dice.pick([{}, {}, { expand: ["up"] }, { expand: ["up"], contract: ["down"] }]),
    smoke: dice.chance(0.3) ? [{ path: "/", status: 200 }] : [],
    timeouts: { responseMs: 100_000 },
    marks: "never",
    deadlines: {
      prepareMs: 2 * MINUTE,
      hookMs: MINUTE,
      pauseMs: 6 * MINUTE,
      verifyMs: dice.pick([15_000, 30_000]),
      releaseMs: 15 * MINUTE,
    },
  });
}

/** Two of three are taken back by it. */
const watchOf = (seed: number): NonNullable<EnvironmentSpec["watch"]> =>
  new Dice(seed, "watch").pick(["on", "on", "on", "on", "alert", "off"]);

/** One in four has a worker, one in eight a schedule. */
function processesOf(seed: number): Record<string, ProcessSpec> {
  const dice = new Dice(seed, "processes");
  const base = { command: ["work"], env: {} };
  const at = dice.pick(["live", "live", "start"] as const);
  const worker: ProcessSpec = {
    ...base,
    kind: "worker",
    replicas: dice.int(1, 2),
    stopGraceMs: 5_000,
    at,
    // No manifest may have both: it would run beside the older one.
    handover: at === "start" ? "start-first" : dice.pick(["start-first", "stop-first"]),
    health: { intervalMs: 5_000, timeoutMs: 1_000, failures: 3, deadlineMs: MINUTE },
  };
  const scheduled: ProcessSpec = {
    ...base,
    kind: "scheduled",
    schedule: { cron: "*/3 * * * *", zone: "UTC" },
    overlap: dice.pick(["skip", "queue"]),
    deadlineMs: MINUTE,
  };
  return { ...(dice.chance(0.25) && { worker }), ...(dice.chance(0.125) && { report: scheduled }) };
}

function strategyOf(dice: Dice): StrategySpec {
  const kind = dice.pick(["blue-green", "rolling", "canary"] as const);
  if (kind === "blue-green") return { kind };
  if (kind === "rolling") {
    const [surge, unavailable] = dice.pick([
      [1, 0],
      [1, 0],
      [0, 1],
      [2, 1],
      [0, 0],
    ] as const);
    return { kind, maxSurge: { count: surge }, maxUnavailable: { count: unavailable } };
  }
  const steps = dice.pick<readonly Step[]>([
    [weightStep(1_000, 40_000), weightStep(5_000, 20_000), weightStep(10_000)],
    [weightStep(2_500, 30_000), { kind: "pause", forMs: 20_000 }, weightStep(10_000)],
    [weightStep(500, 20_000), { kind: "pause", forMs: null }, weightStep(5_000, 20_000), weightStep(10_000)],
    [weightStep(1_000, 20_000), { kind: "analysis", forMs: 60_000 }, weightStep(10_000)],
  ]);
  return { kind, steps, analysis: analysisOf(dice) };
}

const analysisOf = (dice: Dice): AnalysisSpec => ({
  enabled: dice.chance(0.6),
  warmUpMs: 0,
  onInconclusive: dice.pick(["ask", "promote", "abort"]),
  onFailure: dice.pick(["rollback", "rollback", "pause"]),
  maxWaitMs: 60_000,
});

const GOOD: App = {
  pulls: true,
  bootMs: 2_000,
  boot: "good",
  ends: null,
  errorRate: 0,
  smoke: "good",
  hookMs: 3_000,
  hookFails: false,
};

function appOf(dice: Dice): App {
  const good = { ...GOOD, bootMs: dice.pick([500, 3_000, 12_000, 35_000]), hookMs: dice.int(500, 20_000) };
  if (dice.chance(0.55)) return good;
  return dice.pick<App>([
    { ...good, pulls: false },
    { ...good, boot: "exits" },
    { ...good, boot: "hangs" },
    { ...good, ends: { afterMs: dice.int(2_000, 20_000), which: "all", forGood: false } },
    { ...good, ends: { afterMs: dice.int(2_000, 20_000), which: "all", forGood: true } },
    {
      ...good,
      ends: {
        afterMs: dice.int(2_000, 60_000),
        which: dice.pick(["all", "half", "one"]),
        forGood: dice.chance(0.7),
      },
    },
    { ...good, errorRate: dice.pick([0.05, 0.3, 1]) },
    { ...good, smoke: dice.pick(["bad before", "bad after"]) },
    { ...good, hookFails: true },
  ]);
}

const deployAt = (dice: Dice, at: number): Act => ({
  at,
  do: "deploy",
  app: appOf(dice),
  whenBusy: dice.pick(["queue", "queue", "reject", "supersede"]),
  hold: dice.chance(0.1),
});

function personAt(dice: Dice, at: number): Act {
  const twice = dice.chance(0.3);
  return dice.pick<() => Act>([
    () => ({ at, do: "abort", twice }),
    () => ({ at, do: "promote", full: dice.chance(0.3), twice }),
    () => ({ at, do: dice.pick(["pause", "resume"]), twice }),
    () => ({ at, do: "rollback", twice, older: dice.chance(0.2) }),
    () => ({ at, do: "rollback", twice, older: false }),
    () => ({
      at,
      do: "weigh",
      share: dice.pick([0, 100, 1_000, 2_500, 5_000, 9_000, 10_000]),
      third: dice.chance(0.3),
    }),
    () => ({ at, do: "lock", forMs: dice.int(5_000, 120_000) }),
    () => ({ at, do: "unlock", twice }),
    () => ({ at, do: "apply", change: { strategy: strategyOf(dice), replicas: dice.int(1, 4) } }),
    () => deployAt(dice, at),
  ])();
}

function actAt(dice: Dice, at: number, hosts: number): Act {
  if (dice.chance(0.4)) return personAt(dice, at);
  const host = dice.int(0, hosts - 1);
  const forMs = dice.pick([2_000, 15_000, 60_000, 150_000, 400_000]);
  const which = dice.pick<Which>(["one", "one", "half", "all"]);
  const of = dice.pick<Of>(["newest", "stable", "any"]);
  return dice.pick<() => Act>([
    () => ({ at, do: "end", which, of, forGood: dice.chance(0.6) }),
    () => ({ at, do: "end", which, of, forGood: dice.chance(0.6) }),
    () => ({ at, do: "freeze", which, of, forMs }),
    () => ({ at, do: "remove container", which, of }),
    () => ({ at, do: "agent ends", host, forMs }),
    () => ({ at, do: "host ends", host, forMs }),
    () => ({ at, do: "cut", host, from: dice.pick(["control", "visitors", "both"]), forMs }),
    () => ({ at, do: "control ends", forMs: Math.min(forMs, 90_000) }),
    () => ({ at, do: "edge cut", forMs: Math.min(forMs, 90_000) }),
    () => ({ at, do: "edge begins" }),
    () => ({ at, do: "clock jumps", byMs: dice.pick([-60_000, -5_000, 5_000, 30_000]) }),
    () => ({ at, do: "remove host", host }),
    () => ({ at, do: "enrol host", slots: dice.int(1, 4) }),
  ])();
}

/** With dice of their own: whoever leaves these out leaves the rest of the story as it is. */
function furtherActs(seed: number, { until, hosts }: { until: number; hosts: number }): Act[] {
  const dice = new Dice(seed, "further acts");
  const count = dice.pick([0, 0, 1, 1, 2, 3]);
  return Array.from({ length: count }, () => furtherAct(dice, dice.int(20_000, until), hosts));
}

/**
 * What serves ends for good in one story of ten, and so does what it took over from. In some of them two more were released
 * just before, with room enough, so that an older one is warm.
 */
function blows(seed: number, until: number): Act[] {
  const dice = new Dice(seed, "blows");
  if (!dice.chance(0.1)) return [];
  const blow = (at: number): Act => ({ at, do: "end", which: "all", of: "last two", forGood: true });
  const at = dice.int(60_000, until);
  if (!dice.chance(0.4)) return [blow(at)];
  const change = { strategy: { kind: "blue-green" }, keepMs: 10 * MINUTE, replicas: 2, hooks: {} } as const;
  const deploy = { do: "deploy", app: GOOD, whenBusy: "queue", hold: false } as const;
  return [
    { at: until, do: "apply", change },
    { at: until, do: "enrol host", slots: 6 },
    { at: until + 1_000, ...deploy },
    { at: until + 1.5 * MINUTE, ...deploy },
    blow(until + dice.int(2.5 * MINUTE, 4 * MINUTE)),
  ];
}

/**
 * A command is begun, and then no host is heard from, one for longer than the other: in one story of ten, and in every second
 * one with a worker that is to be alone.
 */
function silences(
  seed: number,
  { until, hosts, spec }: { until: number; hosts: number; spec: EnvironmentSpec },
): Act[] {
  const dice = new Dice(seed, "silences");
  const isAlone = (process: ProcessSpec) => process.kind === "worker" && process.handover === "stop-first";
  if (!dice.chance(Object.values(spec.processes ?? {}).some(isAlone) ? 0.5 : 0.1)) return [];
  const at = dice.int(60_000, until);
  const cuts = Array.from({ length: hosts }, (_, host): Act => {
    const forMs = dice.int(95_000, 400_000);
    return { at: at + dice.int(1_000, 3_000), do: "cut", host, from: "control", forMs };
  });
  return [{ at, do: "run", deadlineMs: 10 * MINUTE, twice: false }, ...cuts];
}

function furtherAct(dice: Dice, at: number, hosts: number): Act {
  const host = dice.int(0, hosts - 1);
  const twice = dice.chance(0.3);
  const drain = (then: Extract<Act, { do: "drain host" }>["then"]): Act => ({
    ...{ at, do: "drain host", host, then },
    force: dice.chance(0.3),
  });
  return dice.pick<() => Act>([
    () => drain(null),
    () => drain("remove"),
    () => drain({ undoAfterMs: dice.pick([3_000, 40_000, 200_000]) }),
    () => (dice.chance(0.4) ? { at, do: "destroy", twice } : { at, do: "restart", twice }),
    () => ({ at, do: "restart", twice }),
    () => ({
      ...{ at, do: "scale" },
      web: dice.chance(0.7) ? dice.int(1, 4) : null,
      worker: dice.chance(0.3) ? dice.int(0, 3) : null,
    }),
    () => ({ at, do: "run", deadlineMs: dice.pick([5_000, MINUTE]), twice }),
    () => ({
      ...{ at, do: "end in turn", of: dice.pick<Of>(["newest", "stable"]) },
      everyMs: dice.pick([5_000, 15_000, 40_000]),
      times: dice.int(2, 8),
    }),
    () => ({
      ...{ at, do: "take port", slot: dice.int(0, 3), host: dice.pick([host, "all"] as const) },
      forMs: dice.pick([60_000, 400_000, 3_000_000]),
    }),
    () => ({
      ...{ at: dice.pick([0, at]), do: "take port", slot: dice.int(0, 2), host: "all" },
      forMs: dice.pick([400_000, 3_000_000]),
    }),
  ])();
}
