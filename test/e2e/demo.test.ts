import { execFile } from "node:child_process";
import { mkdtemp, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { z } from "zod";
import { dockerTest } from "../support/docker.ts";
import { NODE } from "../support/run-cli.ts";

const run = promisify(execFile);
const DEMO = join(import.meta.dirname, "../../local/demo.ts");

const resultSchema = z.object({
  ok: z.boolean(),
  runtime: z.string(),
  requests: z.number(),
  failed: z.number(),
  phases: z.array(z.object({ phase: z.string(), requests: z.number(), failed: z.number(), error: z.null() })),
});

/** `npm run demo -- --json`, its last line parsed. */
async function demo(runtime: string) {
  const temporary = await mkdtemp(join(tmpdir(), "sluice-e2e-demo-"));
  const env = { ...process.env, TMPDIR: temporary };
  const { stdout, stderr } = await run(NODE, [DEMO, "--json", "--runtime", runtime], { env });
  const result = resultSchema.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
  expect(result).toMatchObject({ ok: true, runtime, failed: 0 });
  expect(result.phases).toHaveLength(5);
  expect(result.requests).toBeGreaterThan(500);
  expect(stderr).toMatch(/url +http:\/\/hello\.localhost:\d+/);
  // Fails when anything is left in it.
  await rmdir(temporary);
}

test("the demo meets its budgets with plain processes and leaves nothing behind", () => demo("process"));
dockerTest("the demo meets its budgets with containers and leaves nothing behind", () => demo("docker"));
