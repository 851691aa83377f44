import { describe, expect, it } from "vitest";
import { covers } from "../../../src/domain/hostnames.ts";
import { isNumbered } from "../../../src/domain/previews/hostname.ts";
import { previewSpec, wrongImage } from "../../../src/domain/previews/preview.ts";
import type { PreviewRule } from "../../../src/domain/previews/rule.ts";
import type { WorkerSpec } from "../../../src/domain/processes/process.ts";
import type { AccessorySpec, EnvironmentSpec } from "../../../src/domain/spec.ts";
import { aCanary, aSpec } from "../rollout/spec.ts";

const PATTERN = "pr-{number}-shop.example.com";
const RULE: PreviewRule = {
  ...{ hostname: PATTERN, ttlMs: 1, max: 3, forks: false, env: {}, secrets: [] },
  ...{ hooks: false, processes: [], accessories: [] },
};
const worker = { kind: "worker", command: ["mail"], replicas: 3 } as unknown as WorkerSpec;
const nightly = { ...worker, kind: "scheduled" } as unknown as WorkerSpec;
const db: AccessorySpec = {
  ...{ image: "postgres:17", env: {}, secrets: ["POSTGRES_PASSWORD"], stopGraceMs: 1, resources: {} },
  volumes: [{ source: "data", target: "/var/lib/postgresql/data", readOnly: false }],
  container: { readOnly: true, tmpfs: [], ulimits: {} },
  logging: { maxSizeBytes: 1, maxFiles: 1 },
};
const probe = { path: "/", host: "shop.example.com", intervalMs: 1, timeoutMs: 1, failures: 1, successes: 1 };
/** Everything that production holds. */
const PRODUCTION = aSpec({
  replicas: 6,
  strategy: aCanary(),
  env: { NODE_ENV: "production", PAYMENTS: "live", TOKEN: "plain" },
  secrets: ["DATABASE_URL", "STRIPE_KEY"],
  hooks: { expand: ["migrate"], contract: ["contract"] },
  volumes: [
    { source: "uploads", target: "/app/uploads", readOnly: false },
    { source: "/srv/production", target: "/data", readOnly: false },
  ],
  container: { readOnly: true, tmpfs: ["/tmp"], ulimits: {} },
  processes: { mailer: worker, nightly },
  accessories: { db, cache: { ...db, secrets: [] } },
  needs: ["db", "cache"],
  approval: { before: "release", by: 1, deadlineMs: 1 },
  rules: { allow: [], freeze: [] },
  health: { startup: { ...probe, deadlineMs: 1 }, readiness: { ...probe, host: "internal" } },
  previews: RULE,
});
const preview = (rule: Partial<PreviewRule> = {}, of: EnvironmentSpec = PRODUCTION) =>
  previewSpec(of, { ...RULE, ...rule }, { number: 12, templateId: "env_1" });

describe("a preview's spec", () => {
  it("is one instance at its own hostname, with nothing that the environment holds", () => {
    const { volumes, secrets, processes, accessories, needs, hooks, replicas, ...rest } = preview();
    expect({ volumes, secrets, processes, accessories, needs, hooks, replicas }).toEqual({
      ...{ volumes: [], secrets: [], processes: {}, accessories: {}, needs: [], hooks: {}, replicas: 1 },
    });
    expect(rest.hostnames).toEqual(["pr-12-shop.example.com"]);
    expect(rest.environment).toBe("pr-12");
    expect(rest.strategy).toEqual({ kind: "blue-green" });
    expect(rest.preview).toEqual({ number: 12, of: "production", secretsOf: "env_1~previews" });
    for (const gone of ["approval", "previews"]) expect(rest).not.toHaveProperty(gone);
  });

  it("keeps nothing: what was a volume is written to memory where the image can't be written", () => {
    expect(preview().container?.tmpfs).toEqual(["/tmp", "/app/uploads", "/data"]);
    const writable = { ...PRODUCTION, container: { readOnly: false, tmpfs: [], ulimits: {} } };
    expect(preview({}, writable).container?.tmpfs).toEqual([]);
  });

  it("has what its rule names, and of that no secret that the rule doesn't name", () => {
    const { processes, accessories, needs, hooks, secrets } = preview({
      ...{ hooks: true, processes: ["mailer"], accessories: ["db"], secrets: ["DATABASE_URL"] },
    });
    expect(Object.keys(processes ?? {})).toEqual(["mailer"]);
    expect(needs).toEqual(["db"]);
    expect(accessories?.db).toMatchObject({ volumes: [], secrets: [], container: { readOnly: true } });
    expect(accessories?.db?.container.tmpfs).toEqual(["/var/lib/postgresql/data"]);
    expect(hooks).toEqual({ expand: ["migrate"] });
    expect(secrets).toEqual(["DATABASE_URL"]);
  });

  it("fills number and hostname into its variables, and has no variable twice", () => {
    const env = { URL: "https://{hostname}/{number}?{number}", PAYMENTS: "test" };
    expect(preview({ env, secrets: ["TOKEN"] }).env).toEqual({
      ...{ NODE_ENV: "production", PAYMENTS: "test", URL: "https://pr-12-shop.example.com/12?12" },
    });
  });

  it("is asked by its own name where the environment was asked by its own", () => {
    const { startup, readiness } = preview().health;
    expect([startup.host, readiness.host]).toEqual(["pr-12-shop.example.com", "internal"]);
  });

  it.each([
    [":pr-12", null],
    [`@sha256:${"ab".repeat(32)}`, null],
    ["ghcr.io/acme/shop:pr-12", null],
    ["ghcr.io/acme/shop@sha256:0", null],
    ["ghcr.io/acme/shopper:pr-12", "ghcr.io/acme/shop"],
    ["evil.example/acme/shop:1", "ghcr.io/acme/shop"],
    ["file:/etc", "ghcr.io/acme/shop"],
    [`sha256:${"ab".repeat(32)}`, "ghcr.io/acme/shop"],
  ])("of the image %s is refused, or not, by its repository", (image, why) => {
    const refused = wrongImage(preview(), image);
    if (why === null) expect(refused).toBeNull();
    else expect(refused).toContain(`${why} alone`);
  });
});

describe("a preview of an app whose image has no repository", () => {
  const local = `sha256:${"ab".repeat(32)}`;
  it.each([
    ["file:/srv/shop", "file:/srv/shop", true],
    ["file:/srv/shop", "file:/srv/other-app", false],
    ["file:/srv/shop", ":x", false],
    ["file:/srv/shop", local, false],
    [local, local, true],
    [local, `sha256:${"cd".repeat(32)}`, false],
    [local, "file:/etc", false],
  ])("%s runs that alone: %s is allowed: %s", (own, asked, may) => {
    const refused = wrongImage({ image: own }, asked);
    if (may) expect(refused).toBeNull();
    else expect(refused).toContain(`previews run ${own} alone`);
  });
});

describe("a pattern with a number", () => {
  it.each([
    ["pr-12-shop.example.com", true],
    ["pr-1-shop.example.com", true],
    [PATTERN, true],
    ["pr-0-shop.example.com", false],
    ["pr-012-shop.example.com", false],
    ["pr--shop.example.com", false],
    ["pr-shop.example.com", false],
    ["pr-x-shop.example.com", false],
    ["pr-1-2-shop.example.com", false],
    ["pr-1.2-shop.example.com", false],
    ["a.pr-1-shop.example.com", false],
    ["pr-1-shop.example.com.evil.example", false],
    ["pr-1234567890-shop.example.com", false],
    ["pr-1-shop.example.com/api", false],
  ])("stands for %s: %s", (hostname, is) => {
    expect(isNumbered(PATTERN, hostname)).toBe(is);
    expect(covers(PATTERN, hostname)).toBe(is);
  });

  it("is within a wildcard's grant, and no name without a number is one", () => {
    expect(covers("*.example.com", PATTERN)).toBe(true);
    expect(isNumbered("shop.example.com", "shop.example.com")).toBe(false);
    expect(isNumbered("{number}{number}.example.com", "12.example.com")).toBe(false);
  });
});
