/** Writes docs/troubleshooting.md from the words of `sluice explain`: `npm run docs`. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { EXIT_MEANINGS, EXIT_OF_PROBLEM } from "../cli/exit-codes.ts";
import { EXPLANATIONS } from "../cli/explanations.ts";
import { FAILURES } from "../cli/failures.ts";
import { markdownTable } from "./markdown.ts";

const HEAD = `# Troubleshooting, by what Sluice says

Made from the words of \`sluice explain\` (\`npm run docs\`), which needs no network: \`sluice explain <code>\`. What happens by itself
when something breaks is in [faults](faults.md); what to do when D1 or control is lost, in [recovery](recovery.md).

## Where to look first

| what you see | look |
|---|---|
| a release failed | \`sluice status\`, then \`sluice logs --release <version>\`; the failure names host, check and the app's last lines |
| visitors get an error | its header \`X-Sluice-Error\` names the [edge's own answers](edge.md#what-a-request-and-an-answer-look-like); without it the answer is the app's |
| a hostname leads elsewhere | \`sluice status\` says per hostname what is in the way; \`sluice doctor\` asks the whole path |
| nothing happens | \`sluice hosts\`: an agent that is offline takes no job; \`sluice status\` says what is waited for and until when |
| who did it | \`sluice audit\`, \`sluice events\` |
| which version fails | \`sluice top\`: requests, errors and latency of the last minute, by release and instance |
| everything, once | \`sluice doctor\`; on a real zone \`sluice doctor --live\` |
`;

const code = (text: string) => `\`${text}\``;

/** The text of docs/troubleshooting.md. */
export function troubleshootingDocs(): string {
  const exits = Object.entries(EXIT_MEANINGS);
  const failures = Object.entries(FAILURES).map(([name, [meaning, advice]]) => [code(name), meaning, advice]);
  const problems = Object.entries(EXPLANATIONS).map(([name, [meaning, advice]]) => {
    const exit: Readonly<Record<string, number>> = EXIT_OF_PROBLEM;
    return [code(name), String(exit[name] ?? ""), meaning, advice];
  });
  return [
    HEAD,
    "## Why a release, an instance or an accessory failed\n",
    markdownTable(["code", "means", "do"], failures),
    "\n## Why a command or a call was refused\n",
    markdownTable(["code", "exit", "means", "do"], problems),
    "\n## Exit codes\n",
    markdownTable(["exit", "means"], exits),
    "",
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await writeFile(path.join(import.meta.dirname, "../docs/troubleshooting.md"), troubleshootingDocs());
