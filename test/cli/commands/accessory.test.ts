import { describe, expect, test } from "vitest";
import { type AccessoryView, accessorySchema } from "../../../src/protocol/api/accessories.ts";
import { anEnvironment, at, fakeApi, MANIFEST, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { ENV, unchanged } from "../scenarios.ts";

const files = { "sluice.yaml": MANIFEST };
const run = async (args: readonly string[], routes: Record<string, Route>) => {
  await using api = await fakeApi(routes);
  return { ...(await callCli(args, { url: api.url, files })), asked: api.asked };
};

const JOB = {
  id: "acc_1",
  action: "start",
  state: "leased",
  progress: null,
  deadlineAt: at(0),
  logs: [],
} as const;
type JobView = NonNullable<AccessoryView["job"]>;
const anAccessory = (over: Partial<AccessoryView> = {}, job: Partial<JobView> = {}): AccessoryView =>
  accessorySchema.parse({
    name: "db",
    state: "running",
    since: at(0),
    host: "web-1",
    hostState: "online",
    image: "postgres:16",
    pinned: null,
    declared: true,
    differs: [],
    cause: null,
    job: { ...JOB, ...job },
    volumes: ["sluice-shop_production_pgdata"],
    next: [],
    ...over,
  });
const one =
  (view: AccessoryView | undefined): Route =>
  (_asked, answer) =>
    answer.json(200, { items: view ? [view] : [], nextCursor: null });
const begins =
  (view: AccessoryView): Route =>
  (_asked, answer) =>
    answer.json(202, view);

describe.concurrent("accessory", () => {
  test("lists what there is: where, how, and what differs from the manifest", async () => {
    const view = anAccessory({ hostState: "offline", differs: ["image postgres:16 → postgres:17"] });
    const { code, stdout } = await run(["accessories"], { [`GET ${ENV}/accessories`]: one(view) });
    expect(code).toBe(0);
    expect(stdout).toContain(
      "db    running  web-1 (offline)  postgres:16  differs from the manifest: image postgres:16 → postgres:17",
    );
  });

  test("start waits until it runs, and tells how far it is", async () => {
    const starting = anAccessory({ state: "starting" }, { progress: "pulling 40 %" });
    const { code, stderr } = await run(["accessory", "start", "db"], {
      [`POST ${ENV}/accessories/db/start`]: begins(starting),
      [`GET ${ENV}/accessories`]: one(anAccessory({}, { state: "done" })),
    });
    expect(code).toBe(0);
    expect(stderr).toBe("db is starting on web-1: pulling 40 %\nshop/production db runs on web-1\n");
  });

  test("start that fails is 4, with the cause, the last lines and what to do", async () => {
    const next = [
      { command: "sluice accessory start db -a shop -e production", when: "to run what is there" },
    ];
    const failed = anAccessory(
      { state: "failed", cause: "postgres:16 exited with code 1", next },
      { state: "failed", logs: ["no password"] },
    );
    const { code, stderr } = await run(["accessory", "start", "db"], {
      [`POST ${ENV}/accessories/db/start`]: begins(anAccessory({ state: "starting" })),
      [`GET ${ENV}/accessories`]: one(failed),
    });
    expect(code).toBe(4);
    expect(stderr).toContain("start failed: postgres:16 exited with code 1\n  | no password\n");
    expect(stderr).toContain("next  sluice accessory start db -a shop -e production");
  });

  test("upgrade that was taken back is 3: it runs as before", async () => {
    const kept = anAccessory({ cause: "incompatible data" }, { action: "upgrade", state: "failed" });
    const { code, stderr } = await run(["accessory", "upgrade", "db", "--yes"], {
      [`POST ${ENV}/accessories/db/upgrade`]: begins(anAccessory({ state: "starting" })),
      [`GET ${ENV}/accessories`]: one(kept),
    });
    expect(code).toBe(3);
    expect(stderr).toContain("upgrade failed, and it runs as before: incompatible data");
  });

  test("remove says which volumes stay, and how a person removes them", async () => {
    const next = [{ command: "docker volume rm sluice-shop_production_pgdata", when: "on web-1, once …" }];
    const { code, stderr } = await run(["accessory", "remove", "db", "--yes"], {
      [`DELETE ${ENV}/accessories/db`]: begins(anAccessory({ state: "stopping", next })),
      [`GET ${ENV}/accessories`]: one(undefined),
    });
    expect(code).toBe(0);
    expect(stderr).toContain("shop/production db is removed on web-1");
    expect(stderr).toContain("its volumes stay: sluice-shop_production_pgdata");
    expect(stderr).toContain("docker volume rm sluice-shop_production_pgdata");
  });

  test.each(["stop", "upgrade", "remove"])("%s takes no silence for a yes", async (action) => {
    const { code, stderr, asked } = await run(["accessory", action, "db"], {});
    expect(code).toBe(1);
    expect(stderr).toContain("--yes");
    expect(asked).toEqual([]);
  });

  test("gives up waiting after --timeout, and says that it goes on", async () => {
    const starting = anAccessory({ state: "starting" });
    const { code, stderr } = await run(["accessory", "start", "db", "--timeout", "1ms"], {
      [`POST ${ENV}/accessories/db/start`]: begins(starting),
      [`GET ${ENV}/accessories`]: one(starting),
    });
    expect(code).toBe(6);
    expect(stderr).toContain("is still starting: it goes on without this command: sluice accessory list");
  });
});

describe.concurrent("accessories are shown", () => {
  test("by status, with what a person has to know", async () => {
    const accessories = [anAccessory({ differs: ["env"] }), anAccessory({ name: "cache", state: "absent" })];
    const { stdout } = await run(["status"], {
      [`GET ${ENV}`]: (_asked, answer) => answer.json(200, anEnvironment([["v1", 100]], { accessories })),
    });
    expect(stdout).toMatch(/accessories:\n {4}db +running +web-1 +postgres:16\n {4}cache +not started/);
    expect(stdout).toContain("db: differs from the manifest: env");
  });

  test("by apply, which starts none: it says what is left to do", async () => {
    const next = [{ command: "sluice accessory start db -a shop -e production", when: "the app needs it" }];
    const accessories = [{ ...anAccessory({ state: "absent", next }), environment: "production" }];
    const { stderr } = await run(["apply"], {
      "PUT /api/v1/apps/shop": (_asked, answer) => answer.json(200, { ...unchanged, accessories }),
    });
    expect(stderr).toContain("accessory db of production: is not started");
    expect(stderr).toContain("sluice accessory start db -a shop -e production");
  });
});
