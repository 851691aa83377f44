import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KEPT_BY_DEFAULT } from "../../src/domain/retention.ts";
import { instanceSpecSchema } from "../../src/protocol/agent/instance.ts";
import { parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { toSpec } from "../../src/protocol/manifest/spec.ts";
import { errorsOf, MINIMAL, onlyError, specOf, withEnv, withTop } from "./manifests.ts";

describe("a good manifest", () => {
  test("needs only app, image, port and a hostname; the rest has defaults", () => {
    expect(specOf(MINIMAL)).toEqual({
      app: "shop",
      environment: "production",
      image: "ghcr.io/acme/shop",
      port: 3000,
      env: {},
      health: {
        startup: {
          path: "/",
          host: "shop.example.com",
          intervalMs: 250,
          timeoutMs: 3_000,
          failures: 1,
          successes: 1,
          deadlineMs: 60_000,
        },
        readiness: {
          path: "/",
          host: "shop.example.com",
          intervalMs: 5_000,
          timeoutMs: 3_000,
          failures: 3,
          successes: 1,
        },
      },
      resources: {},
      logging: { maxSizeBytes: 10_485_760, maxFiles: 3 },
      container: { readOnly: false, tmpfs: [], ulimits: {} },
      volumes: [],
      secrets: [],
      accessories: {},
      drainMs: 30_000,
      stopGraceMs: 30_000,
      hostnames: ["shop.example.com"],
      hosts: {},
      processes: {},
      replicas: 1,
      strategy: { kind: "blue-green" },
      hooks: {},
      smoke: [],
      rules: { allow: [], freeze: [] },
      keepMs: 600_000,
      affinity: { kind: "cookie" },
      timeouts: { responseMs: 100_000 },
      rescue: "errors",
      assets: [],
      look: "fail",
      watch: "on",
      marks: "rollout",
      retention: KEPT_BY_DEFAULT,
      deadlines: {
        prepareMs: 600_000,
        hookMs: 900_000,
        pauseMs: 86_400_000,
        verifyMs: 30_000,
        releaseMs: 3_600_000,
      },
    });
  });

  test("keeps everything it says", () => {
    const text = `app: shop
image: localhost:5000/acme/shop:1.2@sha256:${"a".repeat(64)}
port: 80
command: [node, server.js]
health:
  startup: { interval: 100ms, deadline: 2m }
  readiness: { path: /ready, timeout: 1s, failures: 2, successes: 2 }
  liveness: { path: /live }
resources: { cpus: 0.5, memory: 1g, memoryReservation: 512M }
logging: { maxSize: 5m, maxFile: 2 }
env: { NODE_ENV: production, SHARED: all }
drain: 1.5s
stopGrace: 0s
environments:
  eu:
    hostnames: [EU.Example.com]
    hosts: { tier: web }
    replicas: 3
    strategy: { blue-green: }
    keep: 0s
    env: { SHARED: eu }
    affinity: header:X-User
    timeouts: { response: 10s }
    marks: never
    retention: { events: 720h }
    deadlines: { prepare: 1m, verify: 5s, release: 1h }
`;
    expect(specOf(text, "eu")).toMatchObject({
      command: ["node", "server.js"],
      env: { NODE_ENV: "production", SHARED: "eu" },
      health: {
        startup: { path: "/ready", intervalMs: 100, deadlineMs: 120_000 },
        readiness: { timeoutMs: 1_000, failures: 2, successes: 2 },
        liveness: { path: "/live", intervalMs: 10_000, failures: 3 },
      },
      resources: { cpus: 0.5, memoryBytes: 1_073_741_824, memoryReservationBytes: 536_870_912 },
      logging: { maxSizeBytes: 5_242_880, maxFiles: 2 },
      drainMs: 1_500,
      stopGraceMs: 0,
      hostnames: ["eu.example.com"],
      hosts: { tier: "web" },
      keepMs: 0,
      affinity: { kind: "header", name: "x-user" },
      timeouts: { responseMs: 10_000 },
      marks: "never",
      retention: { ...KEPT_BY_DEFAULT, eventsMs: 30 * 86_400_000 },
      deadlines: { prepareMs: 60_000, verifyMs: 5_000, releaseMs: 3_600_000 },
    });
  });

  test("environment variables reach the app as they were written", () => {
    const text = withTop(
      `env: { A: 1.50, B: 012, C: 12345678901234567890, D: true, E: TRUE, F: 1e3, G: "", H: 'null' }`,
    );
    expect(specOf(text).env).toEqual({
      A: "1.50",
      B: "012",
      C: "12345678901234567890",
      D: "true",
      E: "TRUE",
      F: "1e3",
      G: "",
      H: "null",
    });
  });

  test("so do those of an environment, and those shared by an alias", () => {
    const text = `${MINIMAL.replace("environments:", "env: &all { A: 1.50 }\nenvironments:")}    env: *all\n`;
    expect(specOf(text).env).toEqual({ A: "1.50" });
    expect(specOf(withEnv("env: { B: 0x10 }")).env).toEqual({ B: "0x10" });
  });

  test.each([
    ["{ by: cookie, to: instance }", { kind: "cookie", to: "instance" }],
    ["{ by: header:X-User, to: instance }", { kind: "header", name: "x-user", to: "instance" }],
    ["{ by: ip }", { kind: "ip" }],
  ])("affinity may be %s", (text, affinity) => {
    const parsed = parseManifest(withEnv(`affinity: ${text}`));
    expect(parsed.ok && toSpec(parsed.manifest, "production")?.affinity).toEqual(affinity);
  });

  test("what the edge does beyond forwarding is asked for by a word", () => {
    const edgeOf = (text: string) => {
      const { assets, hedge, sockets } = specOf(withEnv(text));
      return [assets, hedge, sockets];
    };
    expect(edgeOf("hedge: on")).toEqual([[], true, undefined]);
    expect(edgeOf("sockets: spread")).toEqual([[], undefined, "spread"]);
    expect(edgeOf("assets: off")).toEqual(["off", undefined, undefined]);
    expect(edgeOf('assets: ["/packs/**"]')).toEqual([["/packs/**"], undefined, undefined]);
    for (const wrong of ["hedge: maybe", "sockets: cut", "assets: [packs]", 'assets: ["/a*b*c*d*e*f"]'])
      expect(parseManifest(withEnv(wrong)).ok, wrong).toBe(false);
  });

  test("may be JSON, have a byte order mark, or Windows line ends", () => {
    const json = JSON.stringify({
      app: "a",
      image: "b",
      port: 1,
      environments: { p: { hostnames: ["h.example"] } },
    });
    expect([json, `\ufeff${MINIMAL}`, MINIMAL.replaceAll("\n", "\r\n")].flatMap(errorsOf)).toEqual([]);
  });

  test("every spec it makes is one the agent takes", () => {
    const ms = fc.integer({ min: 50, max: 100_000 }).map((n) => `${n}ms`);
    const probe = fc.record({ interval: ms, timeout: ms, failures: fc.integer({ min: 1, max: 100 }) });
    void fc.assert(
      fc.property(probe, fc.integer({ min: 1, max: 65_535 }), (readiness, port) => {
        const manifest = {
          app: "a",
          image: "b",
          port,
          health: { readiness: { path: "/r", ...readiness } },
          environments: { p: { hostnames: ["h.example"] } },
        };
        const { app, environment, health, env, stopGraceMs } = specOf(JSON.stringify(manifest), "p");
        const base = {
          instance: "i",
          release: "r",
          version: "v1",
          fence: 1,
          slot: 0,
          hostPort: 4000,
          image: "b@sha256:0",
        };
        instanceSpecSchema.parse({
          ...base,
          app,
          environment,
          containerPort: port,
          env,
          health,
          stopGraceMs,
        });
      }),
    );
  });

  test("an environment it doesn't have is undefined, whatever its name", () => {
    const parsed = parseManifest(MINIMAL);
    const names = ["staging", "constructor", "__proto__", "toString"];
    expect(parsed.ok && names.map((name) => toSpec(parsed.manifest, name))).toEqual(
      names.map(() => undefined),
    );
  });
});

describe("a key that isn't one is refused by name, with its line", () => {
  test.each([
    ["at the top", withTop("replicas: 3"), "replicas", 7, 1, undefined],
    ["a typo", MINIMAL.replace("port:", "prot:"), "prot", 3, 1, "port"],
    ["in an environment", withEnv("replcas: 3"), "environments.production.replcas", 7, 5, "replicas"],
    [
      "in a probe",
      withTop("health:\n  readiness: { path: /, intervall: 1s }"),
      "health.readiness.intervall",
      8,
      25,
      "interval",
    ],
    ["in a flow map", withTop("resources: { cpu: 1 }"), "resources.cpu", 7, 14, "cpus"],
    [
      "in the strategy",
      withEnv("strategy: { blue-green: { keep: 1m } }"),
      "environments.production.strategy.blue-green.keep",
      7,
      31,
      undefined,
    ],
    ["a number", withTop("7: x"), "7", 7, 1, undefined],
    ["one that JavaScript would drop", withTop("env: { __proto__: x }"), "__proto__", 7, 8, undefined],
  ])("%s", (_where, text, pointer, line, column, meant) => {
    const errors = errorsOf(text);
    const error = errors.find((candidate) => candidate.code === "unknown_key");
    expect(error, JSON.stringify(errors)).toMatchObject({ code: "unknown_key", pointer, line, column });
    if (meant) expect(error?.detail).toContain(`did you mean \`${meant}\`?`);
    else expect(error?.detail).not.toContain("did you mean");
  });
});

describe("a key whose feature is not there yet is refused, never ignored", () => {
  test.each([[withEnv("notify: {}"), "environments.production.notify", 7]])(
    "%#: %s",
    (text, pointer, line) => {
      expect(onlyError(text)).toMatchObject({ code: "not_landed", pointer, line });
      expect(onlyError(text).detail).toContain("not available in this version");
    },
  );
});

describe("a key that stands twice is refused, with its whole path and the second's line", () => {
  test.each([
    ["at the top", withTop("port: 4000"), "port", 7],
    ["in an environment", withEnv("hostnames: [b.example.com]"), "environments.production.hostnames", 7],
    ["in other quotes", withTop('"port": 4000'), "port", 7],
    [
      "an environment",
      `${MINIMAL}  production:\n    hostnames: [b.example.com]\n`,
      "environments.production",
      7,
    ],
  ])("%s", (_where, text, pointer, line) => {
    expect(onlyError(text)).toMatchObject({ code: "repeated_key", pointer, line });
  });
});

describe("text that is no manifest", () => {
  test.each([
    ["nothing", ""],
    ["a word", "hello"],
    ["a list", "- a"],
    ["tabs", "app:\n\tshop"],
    ["an open quote", 'app: "shop'],
    ["two documents", `${MINIMAL}---\n${MINIMAL}`],
    ["a tag nobody resolves", MINIMAL.replace("port: 3000", "port: !env PORT")],
    ["an alias to nothing", MINIMAL.replace("3000", "*port")],
    ["an alias to itself", withTop("command: &c [*c]")],
    ["aliases that multiply", bomb()],
    ["nesting without end", "[".repeat(20_000)],
    ["a null byte", "app: a\u0000b"],
  ])("%s is refused, not thrown", (_what, text) => {
    const errors = errorsOf(text);
    expect(errors.length).toBeGreaterThan(0);
    for (const error of errors) expect(error.detail).not.toBe("");
  });

  test("whatever the text, the parser answers", () => {
    const piece = fc.constantFrom(
      "app",
      ":",
      " ",
      "\n",
      "  ",
      "- ",
      "&a",
      "*a",
      "{",
      "}",
      "[",
      "]",
      "'",
      '"',
      "!x",
      "|",
      "?",
      "#",
      "1",
      "null",
    );
    void fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const parsed = parseManifest(pieces.join(""));
        expect(parsed.ok).toBe(false);
      }),
    );
  });
});

function bomb(): string {
  const row = (name: string, of: string) => `${name}: &${name} [${Array(9).fill(of).join(",")}]\n`;
  return ["x", "*a", "*b", "*c", "*d", "*e"].map((of, i) => row("abcdef"[i] ?? "", of)).join("");
}

describe("verify", () => {
  const key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ==\n-----END PUBLIC KEY-----\n";
  const rule = (lines: string) => withTop(`verify:\n${lines}`);
  const indented = key.replace(/^(?=.)/gm, "      ");

  test("names the key that must have signed the image, and is kept unless it says warn", () => {
    expect(specOf(rule(`  cosign:\n    key: |\n${indented}`))).toMatchObject({
      verify: { mode: "enforce", cosign: { key } },
    });
    expect(specOf(rule(`  mode: warn\n  cosign:\n    key: |\n${indented}`)).verify?.mode).toBe("warn");
    expect(specOf(MINIMAL).verify).toBeUndefined();
  });

  test("that can't be kept is refused, never passed over", () => {
    expect(onlyError(rule("  cosign: { key: cosign.pub }")).detail).toContain("must be a public key as PEM");
    const saysOne = "`verify` takes one of `cosign` and `attestation`";
    expect(onlyError(rule("  mode: warn")).detail).toBe(saysOne);
    const both = "  attestation: acme/shop\n  cosign: { issuer: 'https://a', identity: b }";
    expect(onlyError(rule(both)).detail).toBe(saysOne);
    const eitherOr = "`verify.cosign` takes either `key`, or both `issuer` and `identity`";
    expect(onlyError(rule("  cosign: {}")).detail).toBe(eitherOr);
    expect(onlyError(rule("  cosign: { identity: a }")).detail).toBe(eitherOr);
    expect(onlyError(rule("  cosign: { issuer: 'http://a', identity: b }")).pointer).toBe(
      "verify.cosign.issuer",
    );
    expect(onlyError(rule("  cosign: { issuer: 'https://a', identity: '**' }")).detail).toContain("anybody");
    for (const repository of ["acme", "acme/*", "https://github.com/acme/shop", "-a/b", "acme/shop/x"])
      expect(onlyError(rule(`  attestation: ${repository}`)).detail).toContain(
        "must be a repository on GitHub",
      );
  });

  test("names who may sign without a key of one's own, or the repository whose workflow attests", () => {
    const cosign = { issuer: "https://accounts.google.com", identity: "ci@acme.example" };
    expect(specOf(rule(`  cosign: ${JSON.stringify(cosign)}`)).verify).toEqual({ mode: "enforce", cosign });
    for (const repository of ["acme/shop", "github acme/shop", "github:acme/shop"])
      expect(specOf(rule(`  attestation: ${repository}`)).verify).toEqual({
        ...{ mode: "enforce", attestation: { github: "acme/shop" } },
      });
  });
});
