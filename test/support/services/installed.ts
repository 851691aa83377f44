import { existsSync } from "node:fs";

/**
 * Whether a program of a Debian package is here. When not: an error under SLUICE_TEST_DOCKER=required, else one visible line,
 * and the tests that need it skip.
 */
export function isInstalled(debianPackage: string, program: string): boolean {
  if (existsSync(program)) return true;
  const missing = `tests with ${debianPackage} need ${program}: apt-get install ${debianPackage}`;
  if (process.env.SLUICE_TEST_DOCKER === "required") throw new Error(missing);
  console.warn(`SKIPPED: ${missing}`);
  return false;
}
