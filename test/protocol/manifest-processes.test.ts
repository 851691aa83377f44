import { expect, test } from "vitest";
import { parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { toSpec } from "../../src/protocol/manifest/spec.ts";

const manifest = (processes: string, environment = "") => `app: shop
image: ghcr.io/acme/shop
port: 3000
stopGrace: 45s
processes: ${processes}
environments:
  production:
    hostnames: [shop.example.com]
    ${environment}
`;

const specOf = (text: string) => {
  const parsed = parseManifest(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  return toSpec(parsed.manifest, "production")?.processes;
};

test("a worker and a scheduled process have their defaults, and an environment its changes", () => {
  const processes = `{ worker: { command: [work], replicas: 2 }, nightly: { command: [report], schedule: "0 3 * * * Europe/Berlin" } }`;
  expect(specOf(manifest(processes, "processes: { worker: { replicas: 0, env: { A: b } } }"))).toMatchObject({
    worker: {
      kind: "worker",
      replicas: 0,
      env: { A: "b" },
      at: "live",
      handover: "start-first",
      stopGraceMs: 45_000,
    },
    nightly: { kind: "scheduled", schedule: { cron: "0 3 * * *", zone: "Europe/Berlin" }, overlap: "skip" },
  });
  expect(
    Object.keys(specOf(manifest(processes, "processes: { nightly: { schedule: false } }")) ?? {}),
  ).toEqual(["worker"]);
});

test.each([
  ["{ web: { command: [a] } }", "", "is the app itself"],
  ["{ a: { command: [a], overlap: skip } }", "", "with a `schedule`"],
  ['{ a: { command: [a], schedule: "0 3 * * * UTC", replicas: 2 } }', "", "is of a worker"],
  ['{ a: { command: [a], schedule: "0 3 * * *" } }', "", "name the zone"],
  ["{ a: { command: [a], at: start, handover: stop-first } }", "", "beside the older one"],
  ["{ a: { command: [a] } }", "processes: { b: { replicas: 1 } }", "is not among the manifest's `processes`"],
  ["{ a: { command: [a] } }", "processes: { a: { schedule: false } }", "this one is a worker"],
])("%s with %j is refused by its line", (processes, environment, words) => {
  const parsed = parseManifest(manifest(processes, environment));
  if (parsed.ok) throw new Error("it was taken");
  expect(parsed.errors.map(({ detail }) => detail).join()).toContain(words);
  expect(parsed.errors[0]?.line).toBeGreaterThan(4);
});
