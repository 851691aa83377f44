import { err, ok, type Result } from "./result.ts";

/** Who names images: a person does, and control repeats it. Agents only say which digest they found under that name. */

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** The digest that was asked for; undefined: a tag, or a directory, which may hold anything. */
function askedDigest(image: string): string | undefined {
  const digest = image.slice(image.lastIndexOf("@") + 1);
  return DIGEST.test(digest) ? digest : undefined;
}

/** Repository of a reference, without tag and digest; null: a local image's id or a directory, which have none. */
export function repositoryOf(image: string): string | null {
  if (image.startsWith("file:") || DIGEST.test(image)) return null;
  // A colon after the last slash starts the tag; one before it is a registry's port.
  return image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
}

/**
 * The reference that every host runs: the asked one at the digest that the hosts found. Refused in words when that is not
 * the digest that was asked for, or none at all.
 */
export function pinnedImage(asked: string, digest: string | undefined): Result<string, string> {
  if (digest === undefined || !DIGEST.test(digest)) return err(`named no digest of ${asked}`);
  const wanted = askedDigest(asked);
  if (wanted !== undefined && wanted !== digest) return err(`has ${digest}, which is not ${asked}`);
  const repository = repositoryOf(asked);
  return ok(repository === null ? asked : `${repository}@${digest}`);
}

/** What an image can be pinned as before any agent was asked: wholly, or by its repository, at a digest yet to be found. */
export function pinOf(asked: string): { image: string } | { repository: string } {
  const repository = repositoryOf(asked);
  const digest = askedDigest(asked);
  if (repository === null) return { image: asked };
  return digest === undefined ? { repository } : { image: `${repository}@${digest}` };
}
