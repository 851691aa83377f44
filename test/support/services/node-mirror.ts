import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

export const nodeTarball = (version: string): string =>
  `/node-linux-${process.arch}/-/node-linux-${process.arch}-${version}.tgz`;

/** Files as npm has them for one version, with a Node inside that is this machine's own. */
export async function nodeDistribution(version: string, node: string): Promise<Map<string, Buffer | string>> {
  const name = "package";
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-mirror-"));
  try {
    await mkdir(path.join(directory, name, "bin"), { recursive: true });
    const program = path.join(directory, name, "bin/node");
    await writeFile(program, `#!/bin/sh\nexec '${node}' "$@"\n`);
    await chmod(program, 0o755);
    await promisify(execFile)("tar", ["-czf", path.join(directory, "node.tar.gz"), "-C", directory, name]);
    const tarball = await readFile(path.join(directory, "node.tar.gz"));
    return new Map<string, Buffer | string>([[nodeTarball(version), tarball]]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
