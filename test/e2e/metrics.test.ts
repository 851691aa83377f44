import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { hasPrometheus, type Prometheus, promtool, startPrometheus } from "../support/services/prometheus.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";
import { type ToldHost, toldHost } from "../support/stack/told-host.ts";

/** A real Prometheus that scrapes a control with a canary under way: what is written for it must hold against it. */
const EXAMPLES = join(import.meta.dirname, "../../examples");
const APP = "hello";
const WITH_ROLE = "on (app, environment, release) group_left (role) sluice_release_info";
/** The dashboard's variable. */
const SOURCE = "$" + "{datasource}";
const CANARY: AppOptions = {
  replicas: 1,
  strategy: {
    canary: {
      steps: [{ weight: 50, bake: "1h", mirror: { weight: 50, compare: "json" } }, { weight: 100 }],
    },
  },
  load: { paths: ["/"], rate: "5/s" },
};

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
}
interface Dashboard {
  readonly uid: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
}

const dashboard = async (): Promise<Dashboard> =>
  JSON.parse(await readFile(join(EXAMPLES, "grafana/sluice.json"), "utf8"));

/** Every family that docs/metrics.md names, but for the one that is there only while a job is under way. */
async function documented(): Promise<string[]> {
  const page = await readFile(join(EXAMPLES, "../docs/metrics.md"), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| `sluice_"));
  return rows
    .flatMap((row) => row.split("|")[1]?.match(/sluice_\w+/g) ?? [])
    .filter((family) => family !== "sluice_jobs");
}

describe.runIf(hasPrometheus)("with a real Prometheus", () => {
  let sluice: Installation;
  let prometheus: Prometheus;
  let docker: ToldHost;

  beforeAll(async () => {
    sluice = await Installation.start({ hosts: 1 });
    const { token } = await sluice.client.tokens.create({ name: "prometheus", role: "viewer" });
    prometheus = await startPrometheus({ controlUrl: sluice.controlUrl, token });
    const applied = await sluice.sluice(APP, CANARY, ["apply"]);
    if (applied.code !== 0) throw new Error(applied.stderr);
    // From before the first deployment on: an increase is seen from 0.
    const isScraped = async () => (await prometheus.query("sluice_deployments_total == 0")).length > 0;
    await vi.waitUntil(isScraped, { timeout: 90_000 });
    await sluice.deploy(APP, CANARY, "v1");
    await sluice.reaches(APP, "v1", ["live"]);
    const ran = await sluice.sluice(APP, CANARY, ["deploy", "--version", "v2", "--detach"]);
    if (ran.code !== 0) throw new Error(ran.stderr);
    await sluice.reaches(APP, "v2", ["shifting"]);
    // Only now: until they come, control makes up for them.
    sluice.visit(APP);
    docker = await toldHost(sluice.client, sluice.controlUrl, "docker-1");
  });

  afterAll(async () => {
    await prometheus?.close();
    await sluice?.close();
  });

  /** Those of a log that name an id. */
  const linesOf = async (file: string, id: string) =>
    (await readFile(join(sluice.logs, file), "utf8")).split("\n").filter((line) => line.includes(id));

  test("it takes what control says, and its linter finds nothing", async () => {
    const families = await documented();
    expect(families.length).toBeGreaterThan(30);
    const headers = { authorization: `Bearer ${sluice.home.token}` };
    let text = "";
    const missing = async () => {
      await docker.poll();
      text = await (await fetch(`${sluice.controlUrl}/metrics`, { headers })).text();
      return families.filter((family) => !new RegExp(`^${family}(_count)?[{ ]`, "m").test(text));
    };
    // The judge's first window is whole after some 13 s.
    await expect.poll(missing, { timeout: 90_000, interval: 1_000 }).toEqual([]);
    const lint = await promtool(["check", "metrics"], text);
    expect(lint).toEqual({ code: 0, said: "" });
    // A busy machine may answer one too late; what can't be read is never up.
    const up = async () => (await prometheus.query("up")).map(({ value }) => value[1]);
    await expect.poll(up, { timeout: 90_000 }).toEqual(["1"]);
  });

  test("what it holds is what control says elsewhere: the split, and each release's requests", async () => {
    const split = async () => {
      const found = await prometheus.query(`sum by (role) (sluice_release_weight * ${WITH_ROLE})`);
      return Object.fromEntries(found.map(({ metric, value }) => [metric.role, value[1]]));
    };
    await expect.poll(split).toEqual({ stable: "0.5", canary: "0.5" });
    const good = 'sluice_requests_total{release="v2",class="2xx"} > 20';
    await expect.poll(() => prometheus.query(good)).toHaveLength(1);
  });

  test("every query of the Grafana dashboard answers something", async () => {
    const { panels } = await dashboard();
    const queries = panels.flatMap(({ title, targets }) =>
      targets.map(({ expr }) => [title, filled(expr)] as const),
    );
    const empty = async () => {
      await docker.poll();
      const found = await Promise.all(
        queries.map(async ([title, query]) => ({ title, found: await prometheus.query(query) })),
      );
      return found.filter(
        ({ found: samples }) => samples.length === 0 || samples.some(({ value }) => value[1] === "NaN"),
      );
    };
    await expect.poll(empty, { timeout: 90_000, interval: 1_000 }).toEqual([]);
  });

  test("a release's id finds the lines of edge, control and agent about it", async () => {
    const { id } = await sluice.reaches(APP, "v2", ["shifting"]);
    const [, pid] = [...(await sluice.running())].find(([instance]) => instance.startsWith(id)) ?? [];
    // Visitors meet that it is gone, and the edge says so.
    process.kill(-Number(pid), "SIGKILL");
    const lines = async () => [
      ...(await linesOf("control-and-edge.log", id)).map((line) => JSON.parse(line)),
      ...(await linesOf("web-1.log", id)).map(spoken),
    ];
    const said = async () => (await lines()).map(({ event }) => event);
    const wanted = ["release.requested", "release.state", "job.done", "instance.failing", "job start begins"];
    await expect.poll(said).toEqual(expect.arrayContaining(wanted));
    const found = await lines();
    const start = found.find(({ event }) => event === "job start begins");
    expect(start).toMatchObject({ release: id });
    // And a job's id finds both sides of it.
    expect(found.filter(({ job, event }) => job === start.job && event === "job.done")).toHaveLength(1);
    // Each by the id of the request that it was told in, or met it.
    for (const event of ["release.requested", "job.done", "instance.failing"])
      expect(found.find((line) => line.event === event)?.request).toMatch(/^[\w-]{8,}$/);
  });
});

test.runIf(hasPrometheus)("the alert rules fire when they should, and only then", async () => {
  const ran = await promtool(["test", "rules", join(EXAMPLES, "prometheus/alerts.test.yml")]);
  expect(ran).toMatchObject({ code: 0, said: expect.stringContaining("SUCCESS") });
});

test("the Grafana dashboard has the shape that Grafana imports: ids, places and one data source for all", async () => {
  const { panels, templating, schemaVersion, uid } = await dashboard();
  expect({ uid, variables: templating.list.map(({ name }) => name) }).toEqual({
    uid: "sluice",
    variables: ["datasource", "app", "environment"],
  });
  // Of Grafana 12; older ones are migrated, newer ones take it.
  expect(schemaVersion).toBe(41);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  for (const {
    gridPos: { x, w },
    targets,
  } of panels) {
    expect(x + w).toBeLessThanOrEqual(24);
    expect(new Set(targets.map(({ datasource }) => datasource.uid))).toEqual(new Set([SOURCE]));
  }
  const overlaps = panels.flatMap((a) =>
    panels.filter((b) => a.id < b.id && meet(a.gridPos, b.gridPos)).map((b) => [a.title, b.title]),
  );
  expect(overlaps).toEqual([]);
});

/** An agent's line for people: `<time> <event> · key=value …`. */
function spoken(line: string): Record<string, string> {
  const [event = "", facts = ""] = line.slice("00:00:00.000 ".length).split(" · ");
  return { event, ...Object.fromEntries(facts.split(" ").map((pair) => pair.split("="))) };
}

/** As Grafana fills it in. The test is younger than any usual rate interval. */
const filled = (expr: string) =>
  expr.replaceAll("$__rate_interval", "15s").replaceAll(/"\$(app|environment)"/g, '".*"');

const meet = (a: Panel["gridPos"], b: Panel["gridPos"]) =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
