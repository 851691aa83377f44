import { createInterface } from "node:readline/promises";
import { CliError } from "./problem.ts";
import type { Session } from "./session.ts";

/** Destructive commands ask, and never take silence for a yes: without a terminal they want the flag. */
export async function confirm(session: Session, question: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY || session.out.mode !== "off" || session.env.CI)
    throw new CliError(
      "confirmation_required",
      `${question} Nobody is here to answer: add --yes to mean it.`,
      { title: "confirmation required" },
    );
  if (/^y(es)?$/i.test((await ask(session, `${question} [y/N] `)).trim())) return;
  throw new CliError("declined", "not confirmed: nothing was changed", { title: "declined" });
}

/** What was typed; nothing if the input ended (Ctrl-D). */
async function ask(session: Session, question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // While it reads, readline takes Ctrl-C for itself, and would leave the question open for ever.
  lines.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  try {
    return await Promise.race([lines.question(question, { signal: session.signal }), ended]);
  } finally {
    lines.close();
  }
}
