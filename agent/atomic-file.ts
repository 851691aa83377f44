import { open, rename } from "node:fs/promises";
import path from "node:path";

/**
 * Replaces a file in one step: whoever reads it, at whatever moment the machine dies, finds the old content or the new.
 * Readable by its owner only: tokens and apps' environments pass through here.
 */
export async function writeFileAtomically(file: string, content: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await open(temporary, "w", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  // The rename itself must survive a power cut, too.
  const directory = await open(path.dirname(file), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
