import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type AppOptions, Installation } from "../support/stack/installation.ts";
import type { Resident } from "./resident.ts";
import { Diary, Visitor } from "./visitor.ts";

const ROOT = join(import.meta.dirname, "../..");
const SLOTS_EACH = 5;
/** A visit takes at least so long: without a pause they would use the whole machine. */
const VISIT_MS = 300;
const STRATEGIES = {
  "blue-green": "blue-green",
  rolling: { rolling: { maxSurge: 1, maxUnavailable: 0 } },
  canary: { canary: { steps: [{ weight: 50, bake: "1s" }, { weight: 100 }], analysis: false } },
} as const;

type Phase = "before" | keyof typeof STRATEGIES | "after";
type Diaries = Readonly<Record<Phase, Diary>>;

/** What all the visits of a resident came to. */
export interface Stay {
  readonly resident: Resident;
  readonly diaries: Diaries;
}

/**
 * Takes each app through a release of each strategy, all side by side on one installation of two hosts, with visits before, all
 * along, and after.
 */
export async function openZoo(residents: readonly Resident[]): Promise<Stay[]> {
  const data = await mkdtemp(join(tmpdir(), "sluice-zoo-"));
  const sluice = await Installation.start({ slots: residents.length * SLOTS_EACH, processRoot: ROOT });
  try {
    return await Promise.all(residents.map((resident) => stay(sluice, resident, data)));
  } finally {
    await sluice.close();
    await rm(data, { recursive: true, force: true });
  }
}

async function stay(sluice: Installation, resident: Resident, root: string): Promise<Stay> {
  const diaries: Diaries = {
    before: new Diary(),
    "blue-green": new Diary(),
    rolling: new Diary(),
    canary: new Diary(),
    after: new Diary(),
  };
  const data = await mkdtemp(join(root, `${resident.name}-`));
  await resident.prepare?.(data);
  await sluice.deploy(resident.name, optionsOf(resident, data), "v0");
  await visit(sluice, resident, diaries.before);
  for (const [name, strategy] of Object.entries(STRATEGIES)) {
    const options = { ...optionsOf(resident, data), strategy };
    const release = sluice.deploy(resident.name, options, name);
    await visitUntil(release, () => visit(sluice, resident, diaries[name as keyof typeof STRATEGIES]));
  }
  await visit(sluice, resident, diaries.after);
  return { resident, diaries };
}

const optionsOf = ({ name, options, replicas = 2 }: Resident, data: string): AppOptions => ({
  image: `file:test/zoo/apps/${name}`,
  drain: "3s",
  deadline: "60s",
  ...options,
  env: { DATA: data, ...options.env },
  replicas,
});

/** Visits one after the other until the release is over; the last began before that. */
async function visitUntil(release: Promise<void>, visit: () => Promise<void>): Promise<void> {
  let isOver = false;
  const over = release.finally(() => {
    isOver = true;
  });
  // Told when all visits are over.
  over.catch(() => {});
  while (!isOver) await visit();
  await over;
}

async function visit(sluice: Installation, resident: Resident, diary: Diary): Promise<void> {
  const pause = sleep(VISIT_MS);
  const port = Number(new URL(sluice.edgeUrl).port);
  const visitor = new Visitor({ hostname: `${resident.name}.localhost`, port }, diary);
  // The diary has it.
  await resident.visit(visitor).catch(() => {});
  await pause;
}

/** One line for each resident: steps done in each phase, and how many failed of all. */
export const tableOf = (stays: readonly Stay[]) =>
  Object.fromEntries(
    stays.map(({ resident, diaries }) => {
      const steps = Object.entries(diaries).map(([phase, diary]) => [phase, diary.steps]);
      return [
        resident.name,
        {
          replicas: resident.replicas ?? 2,
          ...Object.fromEntries(steps),
          failed: failuresOf(diaries).length,
        },
      ];
    }),
  );

export const failuresOf = (diaries: Diaries): string[] =>
  Object.entries(diaries).flatMap(([phase, { failures }]) => failures.map((words) => `${phase}: ${words}`));
