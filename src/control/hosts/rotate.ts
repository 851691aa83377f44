import type { Principal } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { newId, newSecret, sha256 } from "../ids.ts";
import { type Db, isLostRace, runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { endRotation } from "../store/hosts.ts";
import { confirmToken, insertSuccessor, revokeToken, revokeUnusedSuccessors } from "../store/tokens.ts";

/**
 * An agent's token is renewed in two steps, so that a host never has none that works, whatever dies when: a new one is
 * issued, and both count; with the first use of the new one the old one ends. A second rotation without that use (the
 * answer was lost, the agent died before it wrote) ends what was issued in between.
 */
export async function issueSuccessor(
  db: Db,
  of: Pick<Principal, "id" | "actor" | "hostId">,
  now: number,
): Promise<string> {
  const token = newSecret("slu");
  try {
    await runBatch(db, [
      revokeUnusedSuccessors(db, of.id, now),
      insertSuccessor(db, {
        id: newId("tok", now),
        hash: await sha256(token),
        role: "agent",
        app: null,
        environment: null,
        hostId: of.hostId,
        createdAt: now,
        expiresAt: null,
        revokedAt: null,
        lastUsedAt: null,
        replaces: of.id,
      }),
    ]);
    return token;
  } catch (error) {
    if (!isLostRace(error)) throw error;
    throw new ProblemError({
      code: "token_revoked",
      detail: `the token of ${of.actor} was revoked just now`,
    });
  }
}

export interface Successor {
  readonly tokenHash: string;
  /** The host's name. */
  readonly name: string;
  readonly hostId: string;
  readonly replaces: string;
}

/** A new token was used for the first time: the one before it ends. */
export async function takeOver(
  db: Db,
  { tokenHash, name, hostId, replaces }: Successor,
  now: number,
): Promise<void> {
  try {
    await runBatch(db, [
      confirmToken(db, tokenHash),
      revokeToken(db, replaces, now),
      endRotation(db, hostId),
      insertEvent(db, {
        at: now,
        type: "host.rotated",
        actor: `agent:${name}`,
        message: `host ${name} uses a new token; the one before is revoked`,
        data: { host: name, id: hostId, revoked: replaces },
      }),
    ]);
  } catch (error) {
    // Two first uses at the same moment (a poll and the wake-up socket): one of them has done it.
    if (!isLostRace(error)) throw error;
  }
}
