import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { RUNTIMES } from "../../src/protocol/agent/wire.ts";
import { writeFileAtomically } from "../atomic-file.ts";

const credentialsSchema = z.object({
  url: z.string(),
  token: z.string(),
  /** The token before: all that a control knows whose database was put back to a time before the rotation. */
  before: z.string().optional(),
  host: z.object({ id: z.string(), name: z.string() }),
  runtime: z.enum(RUNTIMES),
  /** Of its slots. Absent: it was enrolled by an agent of before. */
  ports: z.object({ first: z.number().int(), last: z.number().int() }).optional(),
});
/** What makes this machine that host: its token is a secret, the file is readable by its owner only. */
export type Credentials = z.infer<typeof credentialsSchema>;

const fileOf = (directory: string) => path.join(directory, "credentials.json");

/** The credentials kept in the state directory; `undefined` when the host was never enrolled. Throws when unreadable. */
export async function readCredentials(directory: string): Promise<Credentials | undefined> {
  const text = await readFile(fileOf(directory), "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  return text === undefined ? undefined : credentialsSchema.parse(JSON.parse(text));
}

export async function writeCredentials(directory: string, credentials: Credentials): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFileAtomically(fileOf(directory), JSON.stringify(credentials, null, 2));
}
