// What vitest's JSON reports of a run say: `again`, the files that failed, if they may run again; `tally`, the last line.
import { readFileSync } from "node:fs";
import path from "node:path";

/** More files than these don't fail by chance. */
const AGAIN = 5;
const [directory, asked] = process.argv.slice(2);

function read(name) {
  const text = (file) => readFileSync(path.join(directory, `${name}.${file}`), "utf8");
  try {
    return { ...JSON.parse(text("json")), isGreen: Number(text("status")) === 0 };
  } catch {
    // There was no such run, or it ended before it could tell.
    return { testResults: [], isGreen: false };
  }
}

const first = read("first");
const failed = first.testResults.filter(({ status }) => status === "failed").map(({ name }) => name);
const count = (tests, status) => tests.filter((test) => test.status === status).length;

if (asked === "again") {
  console.log(failed.join("\n"));
  process.exit(failed.length > 0 && failed.length <= AGAIN ? 0 : 1);
}

const second = read("second");
const last = new Map([...first.testResults, ...second.testResults].map((file) => [file.name, file]));
const tests = [...last.values()].flatMap(({ assertionResults }) => assertionResults);
const isGreen = first.isGreen || second.isGreen;
if (second.isGreen) {
  for (const { name, message, assertionResults } of first.testResults.filter((file) =>
    failed.includes(file.name),
  )) {
    const flaky = assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName }) => fullName);
    console.log(
      `FLAKY, passed when it ran again: ${path.relative("", name)}: ${flaky.join("; ") || message}`,
    );
  }
}
const failures = count(tests, "failed") || (isGreen ? 0 : 1);
const skipped = tests.length - count(tests, "passed") - count(tests, "failed");
console.log(`${count(tests, "passed")} passed, ${failures} failed, ${skipped} skipped`);
process.exit(failures === 0 ? 0 : 1);
