import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { type TrustMaterial, toTrustMaterial } from "@sigstore/verify";
import { words } from "../outcome.ts";
import { trustProblem } from "../policy/trusted-file.ts";
import { jsonOf } from "./attached.ts";

/** Whose certificates, logs and clocks this host believes. */
export interface Roots {
  readonly roots: readonly TrustMaterial[];
  /** Another when the file is. */
  readonly stamp: string;
}

const NAMES = ["trusted-root.json", "trusted-root.jsonl"];
const MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot";

/**
 * Reads the host's trusted root: one in Sigstore's JSON, or one a line, as `gh attestation trusted-root` prints them. It is pinned and
 * not fetched: who vouches for what runs here is the host's to say. Throws with words when there is none that can be gone by.
 */
export async function readRoots(directory: string): Promise<Roots> {
  const { file, text } = await readFirst(directory);
  const problem = await trustProblem(file);
  if (problem) throw new Error(`this host's trusted root can't be gone by: ${problem}`);
  const whole = jsonOf(Buffer.from(text));
  const lines = whole === undefined ? text.split("\n").filter((line) => line.trim() !== "") : [text];
  const roots = lines.map((line, index) =>
    rootOf(line, lines.length > 1 ? `${file}, line ${index + 1}` : file),
  );
  return { roots, stamp: createHash("sha256").update(text).digest("hex") };
}

async function readFirst(directory: string): Promise<{ file: string; text: string }> {
  for (const name of NAMES) {
    const file = path.join(directory, name);
    try {
      return { file, text: await readFile(file, "utf8") };
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
    }
  }
  throw new Error(
    `this host trusts nobody who could vouch for a signature: write ${path.join(directory, NAMES[0] ?? "")} with \`cosign trusted-root create\` or \`gh attestation trusted-root\` (docs/security.md)`,
  );
}

function rootOf(text: string, where: string): TrustMaterial {
  const json = jsonOf(Buffer.from(text));
  const type = json !== null && typeof json === "object" && "mediaType" in json ? String(json.mediaType) : "";
  if (!type.startsWith(MEDIA_TYPE)) throw new Error(`${where} is no trusted root of Sigstore`);
  try {
    return toTrustMaterial(TrustedRoot.fromJSON(json));
  } catch (thrown) {
    throw new Error(`${where} can't be read: ${words(thrown)}`);
  }
}
