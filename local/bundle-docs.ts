import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

const DOCS = path.join(import.meta.dirname, "../docs");

/** Writes every page of the documentation as one JSON object: text by file name. */
export async function bundleDocs(outfile: string): Promise<void> {
  const names = (await readdir(DOCS)).filter((name) => name.endsWith(".md")).toSorted();
  const pages = await Promise.all(
    names.map(async (name) => [name, await readFile(path.join(DOCS, name), "utf8")]),
  );
  await writeFile(outfile, JSON.stringify(Object.fromEntries(pages)));
}
