import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePorts } from "./ports.ts";

/** Where a local installation keeps everything: the stack's state, its agents', and the CLI's address and token. */
export interface Home {
  readonly dir: string;
  readonly stateDir: string;
  /** The first admin token. Made once, kept in the CLI's own file, so that `sluice` finds it from any folder below. */
  readonly token: string;
  readonly tokenSha256: string;
  /** Of the secrets in the stack's state: `<key id>:<32 bytes, base64>`. Made once; without it they can't be opened. */
  readonly secretsKey: string;
  agentDir(name: string): string;
  /**
   * Where the slots' ports begin: so many in a row, free when the home was made, and its own for good, since what runs there is found
   * again. Two homes on a machine have different ones.
   */
  keepPorts(count: number): Promise<number>;
  /** Tells the CLI where control is, and where the edge serves the apps' hostnames. */
  announce(url: string, edge: string): Promise<void>;
}

export async function openHome(dir: string): Promise<Home> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const file = join(dir, "cli.json");
  const known = await readToken(file);
  const token = known ?? `slu_${randomBytes(30).toString("base64url")}`;
  const secretsKey = await keepKey(join(dir, "secrets.key"));
  return {
    dir,
    stateDir: join(dir, "state"),
    token,
    tokenSha256: createHash("sha256").update(token).digest("hex"),
    secretsKey,
    agentDir: (name) => join(dir, "agents", name),
    keepPorts: (count) => keepPorts(join(dir, "slot-ports"), known === undefined, count),
    announce: (url, edge) => replaceFile(file, `${JSON.stringify({ url, token, edge }, null, 2)}\n`),
  };
}

async function readToken(file: string): Promise<string | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const content: unknown = JSON.parse(text);
  const token =
    content !== null && typeof content === "object" && "token" in content ? content.token : undefined;
  if (typeof token !== "string") throw new Error(`${file} holds no token: remove the file to begin anew`);
  return token;
}

/** The key that is there, else a new one. */
async function keepKey(file: string): Promise<string> {
  const kept = (await readIfThere(file))?.trim();
  if (kept) return kept;
  const made = `local:${randomBytes(32).toString("base64")}`;
  await replaceFile(file, `${made}\n`);
  return made;
}

/** What every home had before it kept its own. */
const FORMER_FIRST = 21_000;

async function keepPorts(file: string, isNew: boolean, count: number): Promise<number> {
  const kept = Number(await readIfThere(file));
  if (kept > 0) return kept;
  const first = isNew ? await freePorts(count) : FORMER_FIRST;
  await replaceFile(file, `${first}\n`);
  return first;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

async function replaceFile(file: string, content: string): Promise<void> {
  await writeFile(`${file}.new`, content, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
