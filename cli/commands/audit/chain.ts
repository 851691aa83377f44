import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type AuditEntry, auditEntrySchema, type Head, Verification } from "../../../src/protocol/audit.ts";
import { EXIT } from "../../exit-codes.ts";
import { CliError } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";

const digest = async (text: string) => createHash("sha256").update(text).digest("hex");
const MOST_SHOWN = 20;

interface Read {
  readonly entries: AsyncIterable<AuditEntry>;
  /** Where the chain ends by another word than its own. */
  known(): Head | null;
}

/** Follows the chain of the live log, or of an export, by its own reckoning: no word of control's is believed. */
export async function verify(
  session: Session,
  file: string | undefined,
  options: { head?: Head },
): Promise<Outcome> {
  const read = file === undefined ? fromControl(session) : await fromFile(file);
  const verification = new Verification(digest, session.now());
  const hashes = new Map<number, string>();
  for await (const entry of read.entries) {
    await verification.add(entry);
    if (entry.link) hashes.set(entry.id, entry.link.hash);
  }
  for (const known of [read.known(), options.head ?? null])
    verification.end(known, known === null || known.id === 0 || hashes.get(known.id) === known.hash);
  const { problems, checked, pruned, head } = verification;
  const isGood = problems.length === 0;
  const lines = problems.slice(0, MOST_SHOWN).map(({ says }) => `✗ ${says}`);
  const more = problems.length > MOST_SHOWN ? [`… and ${problems.length - MOST_SHOWN} more`] : [];
  const counted = `${checked} events chained, ${pruned} of them pruned by retention`;
  session.out.say([...lines, ...more, `${isGood ? "✔" : "✗"} ${counted}`].join("\n"));
  const exit = isGood ? EXIT.ok : EXIT.usage;
  const json = { command: "audit verify", exitCode: exit, checked, pruned, head, problems };
  return { exit, json, text: headText(head) };
}

/** Writes each entry as a line of JSON to stdout. */
export async function exportLog(session: Session): Promise<Outcome> {
  const { entries } = fromControl(session);
  let count = 0;
  let last: Head | null = null;
  const lines: string[] = [];
  for await (const entry of entries) {
    lines.push(JSON.stringify(entry));
    count += 1;
    if (entry.link) last = { id: entry.id, hash: entry.link.hash };
  }
  session.out.say(
    `${count} entries; keep where it ends apart from them: ${last ? headText(last) : "nothing yet"}`,
  );
  return { exit: EXIT.ok, json: { command: "audit export", count, head: last }, text: lines.join("\n") };
}

const headText = ({ id, hash }: Head) => `${id}:${hash}`;

/** `912:3f…`, as `verify` and `export` print it. */
export function parseHead(text: string): Head {
  const [, id, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (id && hash) return { id: Number(id), hash };
  throw new CliError("usage", `\`${text}\` is no end of a chain: it looks like 912:3f…, as verify prints it`);
}

function fromControl({ client }: Session): Read {
  let head: Head | null = null;
  async function* entries() {
    let cursor: string | undefined;
    do {
      const page = await client.installation.auditChain({ cursor });
      head = page.head;
      yield* page.items;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }
  return { entries: entries(), known: () => head };
}

async function fromFile(file: string): Promise<Read> {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new CliError("usage", `${file} can't be read: ${error.message}`);
  });
  async function* entries() {
    for (const [index, line] of text.split("\n").entries()) {
      if (line.trim() === "") continue;
      const parsed = auditEntrySchema.safeParse(jsonOf(line));
      if (!parsed.success) throw new CliError("usage", `${file}:${index + 1} is no entry of an export`);
      yield parsed.data;
    }
  }
  return { entries: entries(), known: () => null };
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // Said with the line's number by who asks.
    return undefined;
  }
}
