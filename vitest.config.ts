import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { bundleForControl } from "./local/bundle-agent.ts";
import { memoryFolder } from "./test/support/memory-folder.ts";
import { packagesOf } from "./test/support/packages.ts";
import { SlowestFirst } from "./test/support/slowest-first.ts";

// Whoever names a folder has it.
process.env.TMPDIR ??= await memoryFolder();
// Control's Worker imports the agent's bundle.
await bundleForControl();
const migrations = await readD1Migrations("migrations");

/** Control within the limits that the local runtime does not keep. */
const LIMITED = "./test/control/main.ts";

/** What a page's markup becomes calls of. */
const JSX = ["hono/jsx/jsx-runtime", "hono/jsx/jsx-dev-runtime"];

/** Bundled once: else each of their hundreds of modules is transformed and fetched by itself. All, or one would be there twice. */
const deps = {
  optimizer: { ssr: { enabled: true, include: [...packagesOf(["src", "test/control"]), ...JSX] } },
};

/** For a machine that does much else: whatever is waited for is a condition, so that only a test that fails takes longer. */
const patience = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 60_000, interval: 20 } },
};

export default defineConfig({
  test: {
    // For two cores: most tests wait for processes, containers and Workers that they started. More of them at once starve.
    maxWorkers: 5,
    // What Workers say of the ordinary course of things.
    onConsoleLog: (line) => !line.startsWith('{"level":"info"'),
    sequence: { sequencer: SlowestFirst },
    projects: [
      {
        test: {
          name: "node",
          include: [
            "test/{house,domain,simulate,streams,protocol,client,cli,agent,examples,local}/**/*.test.ts",
            "test/*.test.ts",
          ],
          globalSetup: ["test/support/cli/bundled-cli.ts"],
          // Modules are loaded once per worker, not per file: what a file changes of the process it puts back.
          isolate: false,
          ...patience,
        },
      },
      {
        plugins: [
          cloudflareTest({
            main: LIMITED,
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              r2Buckets: ["IMAGES"],
              bindings: {
                TEST_MIGRATIONS: migrations,
                PRINT_ACCESS_MATRIX: process.env.ACCESS_MATRIX ?? "",
                SIMULATE_SEEDS: process.env.SIMULATE_SEEDS ?? "6",
                SIMULATE_FROM: process.env.SIMULATE_FROM ?? "1",
              },
            },
          }),
        ],
        test: {
          name: "control",
          include: ["test/control/**/*.test.ts"],
          exclude: ["test/control/cloudflare/**"],
          setupFiles: ["test/control/setup.ts"],
          // One workerd for all files of a worker: half of what they cost was its start and their modules, again and again.
          isolate: false,
          ...patience,
          deps,
        },
      },
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            main: LIMITED,
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
          isolate: false,
          ...patience,
          // They share one stand-in of Cloudflare, whose address control is bound to.
          fileParallelism: false,
          deps,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "edge",
          include: ["test/edge/**/*.test.ts"],
          globalSetup: ["test/support/stack/bundled-workers.ts"],
          isolate: false,
          ...patience,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["test/support/cli/bundled-cli.ts", "test/support/stack/bundled-workers.ts"],
          isolate: false,
          ...patience,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          setupFiles: ["test/e2e/setup.ts"],
        },
      },
    ],
  },
});
