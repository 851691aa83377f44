import { expect, it } from "vitest";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import { aSpec } from "./spec.ts";
import { World } from "./world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;

/** Two of v2, of which those on `silent` do not answer over their real path while v1 is warm; their agents say nothing of it. */
function world(...silent: string[]): World {
  const made = new World({ anna: 9, bert: 9 });
  made.spec = aSpec({ keepMs: 10 * MINUTE });
  for (let n = 0; n < 2; n += 1) {
    made.deploy();
    made.run(made.now + MINUTE);
  }
  const { probe } = made.agents;
  made.agents = {
    ...made.agents,
    probe: (instance) => (silent.includes(instance.hostName) ? "timed out" : probe(instance)),
  };
  return made;
}
function readyOf(made: World): boolean[] {
  const loaded = { facts: made.facts(), salt: "s", previewKey: "00", mode: { kind: "open" } } as const;
  const { releases } = compileTable(loaded, { version: 1, now: made.now });
  return releases.find(({ version }) => version === "v2")?.instances.map(({ ready }) => ready) ?? [];
}

it("gets no visitors after a while, and gets them again when it answers", () => {
  const made = world("bert");
  made.run(made.now + 5 * SECOND);
  expect(readyOf(made)).toEqual([true, true]);
  made.run(made.now + 30 * SECOND);
  expect(readyOf(made).sort()).toEqual([false, true]);
  made.agents = { ...made.agents, probe: () => null };
  made.run(made.now + 20 * SECOND);
  expect(readyOf(made)).toEqual([true, true]);
});

it("is believed where the path leads to nobody: it may be control's own", () => {
  const made = world("anna", "bert");
  made.run(made.now + MINUTE);
  expect(readyOf(made)).toEqual([true, true]);
});
