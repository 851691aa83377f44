import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Session } from "../session.ts";
import { CliError } from "./problem.ts";

/** Destructive commands ask, and never take silence for a yes: without a terminal they want the flag. */
export async function confirm(session: Session, question: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  requireSomebody(session, question);
  if (/^y(es)?$/i.test((await ask(session, `${question} [y/N] `)).trim())) return;
  throw declined();
}

/** For what can't be undone: the word is typed out. */
export async function confirmTyping(
  session: Session,
  {
    question,
    word,
    yes,
    flag = "--yes",
  }: { question: string; word: string; yes: boolean | undefined; flag?: string },
): Promise<void> {
  if (yes) return;
  requireSomebody(session, question, flag);
  if ((await ask(session, `${question} Type ${word} to mean it: `)).trim() === word) return;
  throw declined();
}

/** What was typed; without a terminal the flag is asked for. */
export async function askOr(session: Session, question: string, flag: string): Promise<string> {
  requireSomebody(session, question, flag);
  return ask(session, question);
}

const declined = () => new CliError("declined", "not confirmed: nothing was changed", { title: "declined" });

function requireSomebody(session: Session, question: string, flag = "--yes"): void {
  if (session.stdin.isTTY && session.out.mode === "off" && !session.env.CI) return;
  const detail = `${question} Nobody is here to answer: add ${flag} to mean it.`;
  throw new CliError("confirmation_required", detail, { title: "confirmation required" });
}

/** What was typed; nothing if the input ended (Ctrl-D). `hidden`: the terminal does not show it. */
export async function ask(session: Session, question: string, hidden = false): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const output = hidden ? nowhere : process.stderr;
  const lines = createInterface({ input: session.stdin, output, ...(hidden ? { terminal: true } : {}) });
  // Only now: what is typed before readline has the terminal would be shown.
  if (hidden) session.out.draw(question);
  // While it reads, readline takes Ctrl-C for itself, and would leave the question open for ever.
  lines.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  try {
    const asked = hidden ? "" : question;
    return await Promise.race([lines.question(asked, { signal: session.signal }), ended]);
  } finally {
    lines.close();
    if (hidden) session.out.draw("\n");
  }
}
