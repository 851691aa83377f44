import { describe, expect, test } from "vitest";
import { instanceSpecSchema } from "../../src/protocol/agent/instance.ts";
import { errorsOf, MINIMAL, onlyError, specOf, withEnv, withTop } from "./manifests.ts";

/** What real deployment files say, and how it is said here. */

describe("YAML as people share it", () => {
  test("merges what is shared, keeps variables as they were written, and lets `x-` hold it", () => {
    const text = `x-common: &common
  LOG: 012
  RATE: 1.50
x-web: &web
  replicas: 2
${MINIMAL}    <<: *web
    env:
      <<: *common
      OWN: 1_000
`;
    expect(specOf(text)).toMatchObject({ replicas: 2, env: { LOG: "012", RATE: "1.50", OWN: "1_000" } });
  });

  test("names a wrong value where it is shared, and `x-` only at the top", () => {
    const shared = `x-web: &web\n  replicas: none\n${MINIMAL}    <<: *web\n`;
    expect(onlyError(shared)).toMatchObject({ pointer: "environments.production.replicas" });
    expect(onlyError(withEnv("x-note: 1"))).toMatchObject({ code: "unknown_key" });
  });
});

describe("variables", () => {
  test("may have dots, and may not be those that Sluice sets", () => {
    expect(specOf(withTop("env: { discovery.type: single-node }")).env).toEqual({
      "discovery.type": "single-node",
    });
    expect(onlyError(withTop("env: { PORT: 8080 }"))).toMatchObject({
      pointer: "env.PORT",
      detail: expect.stringContaining("is set from `port`"),
    });
    expect(onlyError(withEnv("env: { SLUICE_VERSION: v1 }"))).toMatchObject({
      detail: expect.stringContaining("that Sluice sets itself"),
    });
  });
});

describe("lookalikes from compose", () => {
  test.each([
    ["256mb", 256],
    ["256MiB", 256],
    ["256m", 256],
    ["1GB", 1024],
  ])("a size of %s is taken", (memory, mebibytes) => {
    expect(specOf(withTop(`resources: { memory: ${memory} }`)).resources.memoryBytes).toBe(mebibytes << 20);
  });

  test("a command that is one text is refused with the list it means", () => {
    expect(onlyError(withTop("command: npm start")).detail).toContain("[npm, start]");
    expect(onlyError(withTop('command: "echo $HOME | cat"')).detail).toContain("[sh, -c, …]");
  });

  test("a wrong environment's name hides nothing that is wrong in it", () => {
    const text = MINIMAL.replace("production:", "Pro_duction:").replace("shop.example.com", "not a name");
    expect(errorsOf(text).map(({ pointer }) => pointer)).toEqual([
      "environments.Pro_duction",
      "environments.Pro_duction.hostnames.0",
    ]);
  });
});

describe("an environment", () => {
  test("may have a port, command, resources, volumes and accessories' hosts of its own", () => {
    const text = `${withEnv(`port: 8080
command: [serve]
resources: { memory: 1g }
volumes: [data:/data]
accessories: { db: { host: web-2 } }`)}command: [start]
volumes: [other:/other]
accessories: { db: { image: postgres } }
`;
    const spec = specOf(text);
    expect(spec).toMatchObject({
      port: 8080,
      command: ["serve"],
      resources: { memoryBytes: 1 << 30 },
      volumes: [{ source: "data" }],
      accessories: { db: { host: "web-2" } },
    });
  });

  test("names no accessory that the app hasn't got, nor does `needs`", () => {
    expect(onlyError(withEnv("accessories: { db: { host: web-2 } }")).detail).toContain(
      "not in `accessories`",
    );
    expect(onlyError(withTop("needs: [db]"))).toMatchObject({ pointer: "needs.0" });
  });
});

test("a wildcard is a hostname of names with two labels or more", () => {
  const named = (name: string) => MINIMAL.replace("shop.example.com", `"${name}"`);
  expect(specOf(named("*.Shop.example.com")).hostnames).toEqual(["*.shop.example.com"]);
  // Readiness says the name that the wildcard lies below.
  expect(specOf(named("*.shop.example.com")).health.readiness.host).toBe("shop.example.com");
  expect(onlyError(named("x").replace('"x"', "*.shop.example.com")).detail).toContain('"*.shop.example.com"');
  for (const wrong of ["*.com", "*", "a.*.example.com", "*shop.example.com", "**.example.com"])
    expect(errorsOf(named(wrong)), wrong).toHaveLength(1);
});

describe("health", () => {
  const health = (text: string) => specOf(withTop(`health:\n${text.replace(/^/gm, "  ")}`)).health;

  test("asks by the public hostname, as the manifest says", () => {
    const { startup, readiness, liveness } = health(`readiness:
  path: /up
  headers: { X-Probe: "1" }
  status: [200-299, 401]
  port: 9000
liveness: { path: /alive, host: internal.shop }`);
    expect(readiness).toMatchObject({
      path: "/up",
      host: "shop.example.com",
      headers: { "X-Probe": "1" },
      statuses: [
        [200, 299],
        [401, 401],
      ],
      port: 9000,
    });
    expect(startup).toMatchObject({ path: "/up", port: 9000, statuses: readiness.statuses, intervalMs: 250 });
    expect(liveness).toMatchObject({ path: "/alive", host: "internal.shop" });
  });

  test("is a connection, or a command inside; startup asks what readiness does if it doesn't say", () => {
    expect(health("readiness: { tcp: true, port: 6379 }")).toMatchObject({
      startup: { tcp: true, port: 6379 },
      readiness: { tcp: true, port: 6379 },
    });
    const mixed = health("startup: { command: [bin/boot] }\nreadiness: { path: /up }");
    expect(mixed.startup).toMatchObject({ command: ["bin/boot"] });
    expect(mixed.startup.path).toBeUndefined();
  });

  test.each([
    ["two kinds", "readiness: { path: /, tcp: true }", "health.readiness.tcp"],
    ["a header of a connection", "readiness: { tcp: true, headers: { A: b } }", "health.readiness.headers"],
    ["a command's port", "readiness: { command: [a], port: 1 }", "health.readiness.port"],
    ["a Host among the headers", "readiness: { headers: { Host: a } }", "health.readiness.headers.Host"],
    ["a status that isn't one", "readiness: { status: 99 }", "health.readiness.status"],
    ["a range upside down", "readiness: { status: 399-200 }", "health.readiness.status"],
    ["a check of the image without a command", "image: on", "health.image"],
  ])("refuses %s, and says where", (_, text, pointer) => {
    expect(onlyError(withTop(`health:\n  ${text}`)).pointer).toBe(pointer);
  });

  test("leaves the image's HEALTHCHECK, turns it off, or asks another", () => {
    expect(specOf(MINIMAL).container?.healthcheck).toBeUndefined();
    expect(specOf(withTop("health: { image: off }")).container?.healthcheck).toBe("off");
    expect(specOf(withTop("health: { image: { command: [up] } }")).container?.healthcheck).toMatchObject({
      command: ["up"],
      failures: 3,
    });
  });
});

describe("containers", () => {
  test("have what images of others need", () => {
    const { container } = specOf(
      withTop(`container:
  init: false
  entrypoint: [/init]
  user: 1000
  groups: [docker]
  extraHosts: ["db.internal:10.0.0.5", "host.docker.internal:host-gateway"]
  ulimits: { memlock: -1 }`),
    );
    expect(container).toMatchObject({
      init: false,
      entrypoint: ["/init"],
      user: "1000",
      groups: ["docker"],
      extraHosts: ["db.internal:10.0.0.5", "host.docker.internal:host-gateway"],
      ulimits: { memlock: -1 },
    });
  });

  test.each([
    ["container: { user: 'a b' }", "container.user"],
    ["container: { extraHosts: [db] }", "container.extraHosts.0"],
    ["container: { ulimits: { nofile: -2 } }", "container.ulimits.nofile"],
    ["accessories: { db: { image: a, files: { conf: x } } }", "accessories.db.files.conf"],
    [
      "accessories: { db: { image: a, files: { /a: x }, container: { readOnly: true } } }",
      "accessories.db.files",
    ],
  ])("%s is refused where it stands", (text, pointer) => {
    expect(onlyError(withTop(text)).pointer).toBe(pointer);
  });

  test("accessories have a health check, files and a user of their own", () => {
    const { accessories, needs } = specOf(
      withTop(`needs: [db]
accessories:
  db:
    image: postgres
    container: { user: postgres }
    health: { command: [pg_isready], interval: 2s }
    files:
      /etc/app.conf: |
        key = value`),
    );
    expect(needs).toEqual(["db"]);
    expect(accessories?.db?.container).toMatchObject({
      user: "postgres",
      healthcheck: { command: ["pg_isready"], intervalMs: 2_000 },
      files: { "/etc/app.conf": "key = value\n" },
    });
  });
});

test("the agent takes every one of these", () => {
  const { health, container } = specOf(
    withTop(`health: { readiness: { path: /, status: 204 }, startup: { command: [a] }, image: { command: [b] } }
container: { init: false, entrypoint: [a], user: b, groups: [c], extraHosts: ["d:1.2.3.4"], ulimits: { core: -1 } }`),
  );
  expect(instanceSpecSchema.shape.health.safeParse(health).success).toBe(true);
  expect(instanceSpecSchema.shape.container.safeParse(container).success).toBe(true);
});
