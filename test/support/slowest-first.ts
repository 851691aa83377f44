import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Files that take longest, the longest first: begun last, one of them would leave the other workers idle to its end. After
 * them those that start many processes: a start costs 1 ms in a worker of 50 MB, and 18 ms once other files have filled it.
 */
const SLOWEST = [
  "e2e/demo.test.ts",
  "e2e/shop.test.ts",
  "e2e/dashboard.test.ts",
  "e2e/ship.test.ts",
  "e2e/logs.test.ts",
  "e2e/control-killed.test.ts",
  "e2e/secrets.test.ts",
  "e2e/accessories.test.ts",
  "e2e/queue.test.ts",
  "agent/runtime/accessories.test.ts",
  "agent/runtime/docker.test.ts",
  "e2e/upgrade.test.ts",
  "e2e/two-releases.test.ts",
  "control/http/access-matrix.test.ts",
  "control/environment/judge.test.ts",
  "edge/switches.test.ts",
  "edge/table.test.ts",
  "cli/ship/ship.test.ts",
  "agent/main.test.ts",
  "agent/cloudflared/tunnel.test.ts",
  "edge/meter.test.ts",
  "cli/setup/setup.test.ts",
  "examples/shop-migration.test.ts",
  "cli/terminal.test.ts",
  "examples/shop.test.ts",
  "examples/action.test.ts",
  "cli/exit-codes.test.ts",
  "cli/commands/deploy.test.ts",
];
const rank = ({ moduleId }: TestSpecification): number => {
  const index = SLOWEST.findIndex((name) => moduleId.endsWith(`/test/${name}`));
  return index === -1 ? SLOWEST.length : index;
};

/** Vitest's own order (what failed and what took long, as far as it remembers runs) after the files that are known to be slow. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
