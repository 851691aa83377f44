import { DurableObject } from "cloudflare:workers";
import { GENESIS, type Head, type Link } from "../../domain/audit-chain.ts";
import { linkOf } from "../../protocol/audit-hash.ts";
import type { ControlEnv } from "../env.ts";
import { sha256 } from "../ids.ts";
import { logFailure } from "../log.ts";
import { eventsAfter, hasLink, insertLinks, readHead } from "../store/audit.ts";
import { type Db, isLostRace, openDb } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { Turn } from "../turn.ts";
import type { AuditorPort } from "./auditor-port.ts";

/** Of an installation that was upgraded the whole log is chained, some each minute. */
const AT_ONCE = 500;
const PASSES = 10;

/**
 * One per installation: chains the events that are written, in the order of their ids, and remembers where the chain ends, apart
 * from D1: whoever cuts off the end of the log there is found out here. Events are chained after they are written (each minute,
 * and before each look), so that no release waits for a hash. That two at once chain right is D1's doing: both would write
 * a link for the same event, and its key takes one.
 */
export class Auditor extends DurableObject<ControlEnv> implements AuditorPort {
  readonly #turn = new Turn();
  /** Own properties are out of reach of RPC. Tests set it. */
  clock: () => number = Date.now;

  seal(): Promise<Head> {
    return this.#turn.take(() => this.#seal(openDb(this.env.DB)));
  }

  async #seal(db: Db): Promise<Head> {
    let head = await this.#head(db);
    for (let pass = 0; pass < PASSES; pass++) {
      const events = await eventsAfter(db, head.id, AT_ONCE);
      const links: Link[] = [];
      for (const event of events) links.push(await linkOf(event, links.at(-1)?.hash ?? head.hash, sha256));
      const last = links.at(-1);
      if (!last) break;
      const written = await insertLinks(db, links).then(
        () => true,
        (error) => {
          if (isLostRace(error)) return false;
          throw error;
        },
      );
      head = written ? { id: last.id, hash: last.hash } : await readHead(db);
      await this.ctx.storage.put("head", head);
    }
    return head;
  }

  /** The chain's end. Where it is not what it was, that is said in the log itself, once, and it goes on from what is there. */
  async #head(db: Db): Promise<Head> {
    const known = (await this.ctx.storage.get<Head>("head")) ?? GENESIS;
    if (known.id === 0 || (await hasLink(db, known))) return readHead(db);
    const head = await readHead(db);
    const message = `the log ended at #${known.id} (${known.hash.slice(0, 12)}…), and now at #${head.id}: its end was removed or written anew, or D1 was put back to an earlier time`;
    logFailure("audit.broken", message);
    const data = { before: known, after: head };
    await insertEvent(db, { at: this.clock(), type: "audit.broken", actor: "sluice", message, data });
    return head;
  }
}
