import { describe, expect, test } from "vitest";
import {
  type AccessoryAction,
  type AccessoryState,
  accessoryId,
  accessoryWire,
  differences,
  homeOf,
  moveOf,
  patienceMs,
} from "../../src/domain/accessory.ts";
import { type AccessorySpec, networkName, volumeName } from "../../src/domain/spec.ts";
import { accessorySpecSchema } from "../../src/protocol/agent/accessory.ts";
import { aSpec } from "./rollout/spec.ts";
import { World } from "./rollout/world.ts";

const anAccessory = (over: Partial<AccessorySpec> = {}): AccessorySpec => ({
  image: "postgres:16",
  env: { POSTGRES_DB: "shop" },
  secrets: ["POSTGRES_PASSWORD"],
  volumes: [{ source: "pgdata", target: "/var/lib/postgresql/data", readOnly: false }],
  container: { readOnly: false, tmpfs: [], ulimits: {} },
  resources: {},
  logging: { maxSizeBytes: 10_000_000, maxFiles: 3 },
  stopGraceMs: 30_000,
  ...over,
});
const withAccessories = (accessories: Record<string, AccessorySpec>) => aSpec({ accessories });

describe("where an accessory lives", () => {
  const anna = { id: "host-anna", name: "anna" };
  const bert = { id: "host-bert", name: "bert" };
  const home = (over: Partial<Parameters<typeof homeOf>[0]> = {}, host?: string) =>
    homeOf({
      spec: withAccessories({ db: anAccessory(host === undefined ? {} : { host }) }),
      name: "db",
      homes: [],
      hosts: [anna, bert],
      ...over,
    });

  test("is where it is, whatever the manifest says by now", () => {
    const homes = [{ name: "db", hostId: bert.id, hostName: "bert" }];
    expect(home({ homes }, "anna")).toEqual({ ok: true, value: bert });
  });

  test("is the host it names, or the only one that fits", () => {
    expect(home({}, "bert")).toEqual({ ok: true, value: bert });
    expect(home({ hosts: [anna] })).toEqual({ ok: true, value: anna });
  });

  test("is never guessed: of two hosts one has to be named, and the refusal lists them", () => {
    const refused = home();
    expect(!refused.ok && refused.error.detail).toContain("(anna, bert)");
    expect(!refused.ok && refused.error.detail).toContain("accessories.db.host");
  });

  test("is refused on a host where no instance could reach it", () => {
    expect(home({}, "carl")).toMatchObject({ ok: false, error: { code: "no_hosts" } });
    const homes = [{ name: "db", hostId: "host-carl", hostName: "carl" }];
    const refused = home({ homes });
    expect(!refused.ok && refused.error.detail).toContain("lives on carl");
  });
});

describe("instances", () => {
  const place = (world: World) => {
    world.create();
    world.settleNow();
    return world;
  };

  test("are put only where their accessories can be reached", () => {
    const world = new World();
    world.spec = withAccessories({ db: anAccessory() });
    world.accessories = [{ name: "db", hostId: "host-bert", hostName: "bert" }];
    place(world);
    expect(world.instances.map(({ hostName }) => hostName)).toEqual(["bert", "bert"]);
  });

  test.each(["blue-green", "rolling"] as const)(
    "of a %s release are put nowhere if no host reaches them all",
    (kind) => {
      const world = new World();
      const strategy =
        kind === "rolling"
          ? ({ kind, maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const)
          : ({ kind } as const);
      world.spec = { ...withAccessories({ db: anAccessory(), cache: anAccessory() }), strategy };
      world.accessories = [
        { name: "db", hostId: "host-bert", hostName: "bert" },
        { name: "cache", hostId: "host-anna", hostName: "anna" },
      ];
      place(world);
      expect(world.instances).toEqual([]);
      expect(world.releases[0]?.failure).toMatchObject({
        code: "no_hosts",
        message: expect.stringContaining("db on bert, cache on anna"),
      });
    },
  );
});

describe("what it is on its host", () => {
  test("is a wire's spec with volumes, network and name of its environment", () => {
    const spec = withAccessories({ db: anAccessory({ host: "anna" }) });
    const wire = accessoryWire(spec, {
      name: "db",
      spec: anAccessory({ host: "anna" }),
      image: "postgres@x",
    });
    expect(accessorySpecSchema.parse(wire)).toMatchObject({
      accessory: "shop_production_db",
      name: "db",
      image: "postgres@x",
      network: "sluice-shop_production",
      volumes: [{ source: "sluice-shop_production_pgdata" }],
    });
  });

  test("never means another environment's: not by any way to part the names", () => {
    const [one, two] = [
      { app: "shop", environment: "prod" },
      { app: "shop", environment: "prod-eu" },
    ];
    expect(volumeName(one, "eu-data")).not.toBe(volumeName(two, "data"));
    expect(accessoryId(one, "eu-db")).not.toBe(accessoryId(two, "db"));
    expect(networkName({ app: "a-b", environment: "c" })).not.toBe(
      networkName({ app: "a", environment: "b-c" }),
    );
  });
});

describe("how it differs from the manifest", () => {
  const of = (declared: AccessorySpec) => differences({ spec: anAccessory(), host: "anna" }, declared);

  test("is said by image and key, without values that may be long", () => {
    expect(of(anAccessory({ image: "postgres:17", env: { POSTGRES_DB: "other" } }))).toEqual([
      "image postgres:16 → postgres:17",
      "env",
    ]);
    expect(of(anAccessory({ host: "bert" }))).toEqual(["host anna → bert"]);
  });

  test("is nothing where only the order of keys changed", () => {
    const env = { A: "1", B: "2" };
    const running = { spec: anAccessory({ env }), host: "anna" };
    expect(differences(running, anAccessory({ env: { B: "2", A: "1" } }))).toEqual([]);
  });
});

describe("what may be done", () => {
  const kinds = (state: AccessoryState | undefined, last: AccessoryAction = "start") =>
    (["start", "stop", "upgrade", "remove"] as const).map(
      (action) => moveOf(state && { name: "db", state, action: last }, action).kind,
    );

  test.each([
    [undefined, ["go", "refuse", "refuse", "refuse"]],
    ["starting", ["stand", "refuse", "refuse", "refuse"]],
    ["running", ["go", "go", "go", "go"]],
    ["stopped", ["go", "stand", "refuse", "go"]],
    ["failed", ["go", "go", "go", "go"]],
  ] as const)("while it is %s: start, stop, upgrade, remove", (state, expected) => {
    expect(kinds(state)).toEqual(expected);
  });

  test("is to join what is under way, and nothing beside it", () => {
    expect(kinds("starting", "upgrade")).toEqual(["refuse", "refuse", "stand", "refuse"]);
    expect(kinds("stopping", "remove")).toEqual(["refuse", "refuse", "refuse", "stand"]);
  });

  test("has an end: an upgrade has time to put back what was there", () => {
    const grace = anAccessory({ stopGraceMs: 60_000 });
    expect(patienceMs("upgrade", grace)).toBe(patienceMs("start", grace) + 120_000);
    expect(patienceMs("stop", grace)).toBe(120_000);
  });
});
