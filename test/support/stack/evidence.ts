import { mkdir, mkdtemp } from "node:fs/promises";
import { basename, join } from "node:path";
import { expect } from "vitest";

/** What end-to-end tests leave for whoever has to find out why one failed; in `dist/`, which nobody commits. */
const ROOT = join(import.meta.dirname, "../../../dist/e2e");

interface Test {
  readonly result?: { readonly state: string };
}

/** Those of this file that have begun. */
const tests: Test[] = [];

/** Said of each test of a file before it begins. */
export function noteTest(test: Test): void {
  tests.push(test);
}

/** Whether a test of this file has failed so far: in its own `afterEach` too. */
export const hasFailed = (): boolean => tests.some(({ result }) => result?.state === "fail");

/** A directory of its own, such as `dist/e2e/shop-x3Ft0a`, by the test file that asks. */
export async function evidenceDirectory(): Promise<string> {
  await mkdir(ROOT, { recursive: true });
  const file = basename(expect.getState().testPath ?? "test", ".test.ts");
  return mkdtemp(join(ROOT, `${file}-`));
}
