import { readFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../atomic-file.ts";

const wantedSchema = z.object({
  /** Host id: a machine that was enrolled anew has another tunnel. */
  host: z.string(),
  rev: z.number().int(),
  tunnelId: z.string(),
  token: z.string(),
  configVersion: z.number().int(),
});
/** The tunnel control wants this host to run. Kept, so that a reboot brings it back while control is away. */
export type Wanted = z.infer<typeof wantedSchema>;

const fileOf = (directory: string) => path.join(directory, "tunnel.json");

export async function readWanted(directory: string, host: string): Promise<Wanted | undefined> {
  try {
    const wanted = wantedSchema.parse(JSON.parse(await readFile(fileOf(directory), "utf8")));
    return wanted.host === host ? wanted : undefined;
  } catch {
    return undefined; // never had one, or unreadable: control is asked
  }
}

/** Readable by its owner only: the token is the power to receive this host's traffic. */
export const writeWanted = (directory: string, wanted: Wanted): Promise<void> =>
  writeFileAtomically(fileOf(directory), JSON.stringify(wanted));
