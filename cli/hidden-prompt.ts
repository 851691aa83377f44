import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Session } from "./session.ts";

/** Asks for a secret on the terminal, and shows nothing of what is typed. */
export async function askHidden(session: Session, question: string): Promise<string> {
  const mute = new Writable({ write: (_chunk, _encoding, done) => done() });
  // In this order: the terminal shows what is typed until readline has it.
  const lines = createInterface({ input: process.stdin, output: mute, terminal: true });
  session.out.draw(question);
  // While it reads, readline takes Ctrl-C for itself, and would leave the question open for ever.
  lines.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  try {
    return (await Promise.race([lines.question("", { signal: session.signal }), ended])).trim();
  } finally {
    lines.close();
    session.out.draw("\n");
  }
}
