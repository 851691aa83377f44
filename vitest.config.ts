import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { bundleForControl } from "./local/bundle-agent.ts";

// Control's Worker imports the agent's bundle.
await bundleForControl();
const migrations = await readD1Migrations("migrations");

export default defineConfig({
  test: {
    // One for each core that there is at least: tests that start containers, Workers and databases of their own starve beyond that.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: "node",
          include: ["test/{house,domain,protocol,client,cli,agent,examples}/**/*.test.ts", "test/*.test.ts"],
          testTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: { TEST_MIGRATIONS: migrations } },
          }),
        ],
        test: {
          name: "control",
          include: ["test/control/**/*.test.ts"],
          exclude: ["test/control/cloudflare/**"],
          setupFiles: ["test/control/setup.ts"],
          testTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: { TEST_MIGRATIONS: migrations, ...inject<Record<string, string>>("cloudflare") },
            },
          })),
        ],
        test: {
          name: "cloudflare",
          include: ["test/control/cloudflare/**/*.test.ts"],
          globalSetup: ["test/support/cloudflare/global-setup.ts"],
          setupFiles: ["test/control/setup.ts"],
          testTimeout: 60_000,
          // They share one stand-in of Cloudflare, whose address control is bound to.
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: "edge",
          include: ["test/edge/**/*.test.ts"],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // After all others: its load tests measure. Beside each other, since they mostly wait for drains and bakes.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
