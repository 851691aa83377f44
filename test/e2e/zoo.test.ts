import { expect, test } from "vitest";
import { isInstalled } from "../support/services/installed.ts";
import { django } from "../zoo/django.ts";
import { dockerRegistry } from "../zoo/docker-registry.ts";
import { express } from "../zoo/express.ts";
import { gitServer } from "../zoo/git.ts";
import { php } from "../zoo/php.ts";
import { missingPackages, type Resident } from "../zoo/resident.ts";
import { socketIo } from "../zoo/socket-io.ts";
import { verdaccio } from "../zoo/verdaccio.ts";
import { failuresOf, openZoo, tableOf } from "../zoo/zoo.ts";

/** Quick, and with no program that the suite doesn't need anyway. */
const ALWAYS = [express, socketIo, django, dockerRegistry];
/** `npm run zoo`: these too. `ZOO=git,php npm run zoo`: those only. */
const ALL = [...ALWAYS, gitServer, php, verdaccio];

function residents(wanted: string | undefined): Resident[] {
  if (wanted === undefined)
    return ALWAYS.filter(({ programs }) => Object.entries(programs).every((of) => isInstalled(...of)));
  const named = wanted.split(",");
  const chosen = ALL.filter(({ name }) => wanted === "all" || named.includes(name));
  if (chosen.length === 0) throw new Error(`ZOO=${wanted}: it has ${ALL.map(({ name }) => name).join(", ")}`);
  const missing = [...new Set(chosen.flatMap(missingPackages))].join(" ");
  if (missing) throw new Error(`the zoo needs more: apt-get install --no-install-recommends ${missing}`);
  return chosen;
}

test("apps from elsewhere are used without a failed step while releases of each strategy come by", {
  timeout: 600_000,
}, async () => {
  const stays = await openZoo(residents(process.env.ZOO));
  console.table(tableOf(stays));
  for (const { resident, diaries } of stays) {
    const { name } = resident;
    expect({ name, failures: failuresOf(diaries) }).toEqual({ name, failures: [] });
    for (const { steps } of Object.values(diaries)) expect(steps).toBeGreaterThan(0);
  }
});
