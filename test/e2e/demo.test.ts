import { execFile } from "node:child_process";
import { mkdtemp, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { NODE } from "../support/cli/run-cli.ts";
import { dockerTest } from "../support/engine/docker.ts";

const run = promisify(execFile);
const DEMO = join(import.meta.dirname, "../../local/demo.ts");

const resultSchema = z.object({
  ok: z.boolean(),
  runtime: z.string(),
  requests: z.number(),
  phases: z.array(
    z.object({
      phase: z.string(),
      requests: z.number(),
      failed: z.number(),
      error: z.null(),
      harm: z.literal("expected").optional(),
    }),
  ),
});

/** `npm run demo -- --json`, its last line parsed; with half its visitors, who are enough for every verdict. */
async function demo(runtime: string, phases: number, flags: readonly string[] = []) {
  const temporary = await mkdtemp(join(tmpdir(), "sluice-e2e-demo-"));
  const env = { ...process.env, TMPDIR: temporary };
  const { stdout, stderr } = await run(
    NODE,
    [DEMO, "--json", "--rate", "100", "--runtime", runtime, ...flags],
    { env },
  );
  const result = resultSchema.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
  expect(result).toMatchObject({ ok: true, runtime });
  expect(result.phases).toHaveLength(phases);
  for (const phase of result.phases)
    if (phase.harm !== "expected") expect(phase).toMatchObject({ failed: 0 });
  expect(result.requests).toBeGreaterThan(500);
  expect(stderr).toMatch(/url +http:\/\/hello\.localhost:\d+/);
  // Fails when anything is left in it.
  await rmdir(temporary);
}

// Beside each other: each mostly waits for the bakes of its releases.
describe.concurrent("the demo", () => {
  test("harms no visitor in its first half with plain processes, and leaves nothing behind", () =>
    demo("process", 5, ["--short"]));
  dockerTest("harms no visitor with containers, and leaves nothing behind", () => demo("docker", 8), 900_000);
});
