import { DurableObject } from "cloudflare:workers";
import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import { openDb } from "../store/db.ts";
import { armBy, Turn } from "../turn.ts";
import { deliver } from "./deliver.ts";
import type { NotifierPort } from "./notifier-port.ts";

/** Events of one moment go out together. */
const GATHER_MS = 200;
const RESCUE_MS = 60_000;

/**
 * One per installation: tells targets of events, by its alarm. It reads what committed decisions wrote, so that no release
 * ever waits for it. With nobody to tell it asks D1 nothing.
 */
export class Notifier extends DurableObject<ControlEnv> implements NotifierPort {
  readonly #turn = new Turn();
  /** Own properties are out of reach of RPC. Tests set it. */
  clock: () => number = Date.now;

  async poke(what = { changed: false }): Promise<void> {
    const { storage } = this.ctx;
    if (what.changed) await storage.delete("idle");
    else if (await storage.get("idle")) return;
    await armBy(storage, Date.now() + GATHER_MS);
  }

  override async alarm(): Promise<void> {
    const { storage } = this.ctx;
    try {
      const at = { env: this.env, db: openDb(this.env.DB), now: () => this.clock() };
      const { next, targets } = await this.#turn.take(() => deliver(at));
      if (targets) await storage.delete("idle");
      else await storage.put("idle", true);
      if (next !== null) await armBy(storage, next);
    } catch (error) {
      logFailure("notify.failed", error);
      await armBy(storage, this.clock() + RESCUE_MS);
    }
  }
}
