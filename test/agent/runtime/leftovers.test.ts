import { describe, expect, test } from "vitest";
import { containerConfig, runConfig, runName } from "../../../agent/runtime/docker/container.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { leftovers, type Row } from "../../../agent/runtime/docker/leftovers.ts";
import type { Known } from "../../../agent/runtime/runtime.ts";
import { dockerTest, freePort, theEngine } from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { nodeImage } from "../images.ts";
import { agentBench } from "../running-agent.ts";
import { runOf, specOf } from "../specs.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const now = 1_000 * DAY;
const host = `host-${Math.random().toString(36).slice(2, 10)}`;

interface Made {
  instance?: string;
  run?: string;
  accessory?: string;
  state: string;
  ageMs: number;
  of?: string;
  release?: string;
}
const row = ({ instance, run, accessory, state, ageMs, of = host, release = "rel-1" }: Made): Row => ({
  Id: instance ?? run ?? accessory ?? "",
  State: state,
  Created: (now - ageMs) / 1_000,
  Labels: {
    "sluice.host": of,
    "sluice.app": "hello",
    "sluice.environment": "production",
    "sluice.release": release,
    ...(instance && { "sluice.instance": instance }),
    ...(run && { "sluice.run": run }),
    ...(accessory && { "sluice.accessory": accessory }),
  },
});
const nobody: Known = { instance: () => false, run: () => false };
const left = (rows: Row[], known = nobody) => leftovers(rows, { host, known, now }).map(({ Id }) => Id);

describe("a leftover", () => {
  test.each(["running", "paused", "restarting", "removing"])(
    "is never a container that is %s, however old and unknown",
    (state) => {
      expect(left([row({ instance: "i", state, ageMs: 100 * DAY })])).toEqual([]);
      expect(left([row({ run: "r", state, ageMs: 100 * DAY })])).toEqual([]);
    },
  );

  test("is what was made an hour ago and never began, or ended a day ago, and nobody knows", () => {
    const rows = [
      row({ instance: "made", state: "created", ageMs: 2 * HOUR }),
      row({ instance: "just-made", state: "created", ageMs: HOUR / 2 }),
      row({ instance: "ended", state: "exited", ageMs: 2 * DAY }),
      row({ instance: "dead", state: "dead", ageMs: 2 * DAY }),
      row({ instance: "just-ended", state: "exited", ageMs: 2 * HOUR }),
    ];
    expect(left(rows)).toEqual(["made", "ended", "dead"]);
    expect(left(rows, { ...nobody, instance: (id) => id === "ended" })).toEqual(["made", "dead"]);
  });

  test("is never another host's, an accessory, or a stranger's", () => {
    expect(
      left([
        row({ instance: "i", state: "exited", ageMs: 9 * DAY, of: "another" }),
        row({ accessory: "db", state: "exited", ageMs: 9 * DAY }),
        row({ accessory: "db", state: "created", ageMs: 9 * DAY }),
        { Id: "theirs", State: "exited", Created: 0, Labels: null },
      ]),
    ).toEqual([]);
  });

  test("is a hook that ended only when a later release of its environment is here", () => {
    const hook = row({ run: "hook", state: "exited", ageMs: 3 * DAY });
    const same = row({ instance: "same", state: "running", ageMs: 2 * DAY });
    const later = row({ instance: "later", state: "running", ageMs: 2 * DAY, release: "rel-2" });
    const earlier = row({ instance: "earlier", state: "running", ageMs: 4 * DAY, release: "rel-0" });
    expect(left([hook, same, earlier])).toEqual([]);
    expect(left([hook, same, later])).toEqual(["hook"]);
    expect(left([hook, later], { ...nobody, run: () => true })).toEqual([]);
  });
});

dockerTest("sweeps what does not run and networks nobody is on, and leaves alone what runs", async () => {
  const runtime = createDockerRuntime({ host, localImages: true });
  const image = await nodeImage();
  const network = `sluice-sweep-${host}`;
  const running = specOf({
    instance: `${host}-runs`,
    image,
    hostPort: await freePort(),
    command: nodeCommand("good"),
    network,
  });
  const hook = runOf({ run: `${host}-hook`, image, command: ["true"] });
  await runtime.start(running);
  for (const [name, config] of [
    [`sluice-${host}-unbegun`, containerConfig({ ...running, instance: `${host}-unbegun` }, host)],
    [runName(hook.run), runConfig(hook, host)],
  ] as const)
    await theEngine().bytes("POST", "/containers/create", { query: { name }, json: config });

  expect(await runtime.sweep?.(nobody, Date.now())).toEqual({ ok: true, value: [] });
  const later = Date.now() + 2 * HOUR;
  const swept = await runtime.sweep?.(nobody, later);
  expect(swept?.ok && swept.value.toSorted()).toEqual([
    `container ${host}-hook (created)`,
    `container ${host}-unbegun (created)`,
  ]);
  const listed = await runtime.list();
  expect(listed.ok && listed.value).toMatchObject([{ instance: running.instance, running: true }]);

  await runtime.stop(running.instance, 0);
  expect(await runtime.sweep?.(nobody, later)).toEqual({ ok: true, value: [`network ${network}`] });
});

dockerTest(
  "an agent starts nothing that it finds made, never begun, and unknown to its journal",
  async () => {
    const own = `${host}-unknown`;
    const spec = specOf({
      instance: `${own}-1`,
      image: await nodeImage(),
      hostPort: await freePort(),
      command: nodeCommand("good"),
    });
    const name = `sluice-${spec.instance}`;
    await theEngine().bytes("POST", "/containers/create", {
      query: { name },
      json: containerConfig(spec, own),
    });
    const runtime = createDockerRuntime({ host: own });
    const bench = await agentBench({ runtime });
    await bench.control.until(() => bench.control.polls.length > 0, "it polls");
    expect(bench.control.polls[0]?.instances.map(({ instance }) => instance)).not.toContain(spec.instance);
    const listed = await runtime.list();
    const found = listed.ok && listed.value.find(({ instance }) => instance === spec.instance);
    expect(found).toMatchObject({ running: false, unstarted: true });
    await theEngine().bytes("DELETE", `/containers/${name}`);
    await bench.close();
  },
);
