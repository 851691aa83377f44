import type { Session } from "../session.ts";
import { ask } from "./confirm.ts";
import { CliError } from "./problem.ts";

/** Whoever makes the value may have to type a passphrase first. */
const STDIN_WITHIN_MS = 120_000;
const MAX_BYTES = 1024 * 1024;

/**
 * A secret from stdin, or typed where nobody sees it. Never an argument: those stand in the shell's history, and every
 * process of the machine can read them. `example` is what to do when there is neither.
 */
export async function readValue(
  session: Session,
  what: { readonly name: string; readonly example: string },
): Promise<{ readonly text: string; readonly newlineCut: boolean }> {
  const atTerminal = session.stdin.isTTY && !session.env.CI;
  if (atTerminal) {
    const text = await ask(session, `${what.name} (not shown): `, true);
    if (text === "") throw noValue(what, "nothing was typed");
    return { text, newlineCut: false };
  }
  const whole = session.stdin.isTTY ? "" : await readStdin(session, what.name);
  const text = whole.replace(/\r?\n$/, "");
  if (text === "") throw noValue(what, "nobody is here to type it, and stdin had nothing in it");
  return { text, newlineCut: text !== whole };
}

const noValue = ({ name, example }: { name: string; example: string }, why: string) =>
  new CliError("value_required", `${name} has no value: ${why}`, {
    title: "a value is needed",
    next: [{ command: example, when: "the value comes from a variable or another program" }],
  });

/** All of stdin as text. Throws CliError `value_required` when it does not end in time, or is no text. */
export async function readStdin(session: Session, name: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const late = setTimeout(() => session.stdin.destroy(new Error("late")), STDIN_WITHIN_MS);
  const interrupted = () => session.stdin.destroy(new Error("interrupted"));
  session.signal.addEventListener("abort", interrupted);
  try {
    for await (const chunk of session.stdin) {
      chunks.push(Buffer.from(chunk));
      size += chunk.length;
      if (size > MAX_BYTES) throw new CliError("value_required", `${name}: stdin is larger than 1 MiB`);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    if (error instanceof CliError || session.signal.aborted) throw error;
    if (error instanceof TypeError)
      throw new CliError("value_required", `${name}: stdin is not UTF-8 text, which a variable has to be`);
    const detail = `${name}: stdin did not end within ${STDIN_WITHIN_MS / 1000} s`;
    throw new CliError("value_required", detail, { title: "a value is needed" });
  } finally {
    clearTimeout(late);
    session.signal.removeEventListener("abort", interrupted);
  }
}
