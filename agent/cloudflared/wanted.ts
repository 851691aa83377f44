import { readFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../atomic-file.ts";

const wantedSchema = z.object({
  rev: z.number().int(),
  tunnelId: z.string(),
  token: z.string(),
  configVersion: z.number().int(),
});
/** The tunnel control wants this host to run. Kept, so that a reboot brings it back while control is away. */
export type Wanted = z.infer<typeof wantedSchema>;

const fileOf = (directory: string) => path.join(directory, "tunnel.json");

export async function readWanted(directory: string): Promise<Wanted | undefined> {
  try {
    return wantedSchema.parse(JSON.parse(await readFile(fileOf(directory), "utf8")));
  } catch {
    return undefined; // never had one, or unreadable: control is asked
  }
}

/** Readable by its owner only: the token is the power to receive this host's traffic. */
export const writeWanted = (directory: string, wanted: Wanted): Promise<void> =>
  writeFileAtomically(fileOf(directory), JSON.stringify(wanted));
