import { expect, test } from "vitest";
import { workerConfig } from "../../../cli/setup/wrangler-config.ts";

const installation = (name: string) => ({
  ...{ name, controlHostname: `${name}.example.com`, access: false, images: false, region: null, token: "t" },
  account: { id: "a".repeat(32), name: "one" },
  zone: { id: "z", name: "example.com" },
  slotZone: { id: "z", name: "example.com" },
});
const counters = (name: string) => {
  const { ratelimits } = workerConfig("control", installation(name), {
    database: "d",
    namespace: "n",
    region: null,
  });
  const limits = ratelimits as { name: string; namespace_id: string; simple: object }[]; // As wrangler.toml has them.
  return new Map(limits.map((limit) => [limit.name, limit.namespace_id]));
};

test("two installations in one account count no requests together, and one counts on after an upgrade", () => {
  const ids = [...counters("sluice").values(), ...counters("staging").values()];
  expect([...counters("sluice").keys()]).toEqual(["STRANGERS", "CALLERS"]);
  expect(new Set(ids).size).toBe(4);
  for (const id of ids) expect(id).toMatch(/^[1-9]\d{0,9}$/);
  expect(counters("sluice")).toEqual(counters("sluice"));
});

test("the edge has no log line of its own for each request, which is billed, and no schedule", () => {
  const ids = { database: "d", namespace: "n", region: null };
  const edge = workerConfig("edge", installation("sluice"), ids);
  expect(edge.observability).toMatchObject({ logs: { invocation_logs: false } });
  expect(edge).not.toHaveProperty("triggers");
  expect(workerConfig("control", installation("sluice"), ids).triggers).toEqual({ crons: ["* * * * *"] });
});
