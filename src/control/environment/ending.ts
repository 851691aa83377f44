import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { isOpenHook } from "../../domain/rollout/hooks.ts";
import { commandAccessory } from "../apps/accessories.ts";
import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";
import type { Refusal } from "../refusal.ts";
import { type Db, isLostRace, runBatch } from "../store/db.ts";
import { endStatements, finishApps, readEnding } from "../store/upkeep/endings.ts";

interface Ending {
  readonly env: ControlEnv;
  readonly db: Db;
  readonly facts: EnvironmentFacts;
  readonly now: number;
}

/**
 * Takes what is left of an environment that is being destroyed a step further: its accessories' containers are removed, and
 * when nothing of it runs any more, neither do its secrets and its name stay. True: it is over. Each step is told from what is
 * there, so it may be taken twice, and by whoever comes after one that died.
 */
export async function endEnvironment({ env, db, facts, now }: Ending): Promise<boolean> {
  const { environment, accessories } = await readEnding(db, facts.id);
  if (!environment || !facts.ending) return true;
  const { by: actor } = facts.ending;
  for (const { name } of accessories) {
    const lackOf = async () => undefined;
    const asked = await commandAccessory(db, { environment, name, action: "remove", actor, lackOf, now });
    // Refused: its host is away, or it is on its way elsewhere. It is asked again.
    if (asked.ok && asked.value !== null)
      await objectIn(env.HOST_LINK, asked.value, env)
        .wake()
        .catch(() => false);
  }
  const { instances, workers = [], runs = [], jobs } = facts;
  const running = [...instances, ...workers, ...runs, ...jobs.filter(isOpenHook)];
  if (accessories.length > 0 || running.length > 0) return false;
  try {
    await runBatch(db, endStatements(db, { facts, actor, now }));
  } catch (error) {
    if (isLostRace(error)) return false;
    throw error;
  }
  await finishApps(db, now);
  return true;
}

export const isEnding = ({ app, name }: Pick<EnvironmentFacts, "app" | "name">): Refusal => ({
  code: "conflict",
  detail: `${app}/${name} is being destroyed: nothing can be done with it any more. Once it is gone, \`sluice apply\` makes it anew`,
  next: [{ command: `sluice destroy -a ${app} -e ${name}`, when: "to see what it still waits for" }],
});
