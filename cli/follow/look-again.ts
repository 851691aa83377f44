import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError } from "../../src/client/index.ts";
import type { Session } from "../session.ts";

const EVERY_MS = 2_000;

interface Looking {
  readonly look: () => Promise<void>;
  /** Once where contact is lost. */
  readonly lost: (message: string) => void;
}

/**
 * Looks again and again, over a control that does not answer meanwhile, until nobody reads it any more. Ctrl-C ends it as it ends
 * every command, by 130, whether it meets a question or the time between two.
 */
export async function lookAgain({ out, signal }: Session, { look, lost }: Looking): Promise<void> {
  let isLost = false;
  for (;;) {
    await sleep(EVERY_MS, undefined, { signal }).catch(() => {});
    signal.throwIfAborted();
    if (out.isStdoutClosed) return;
    try {
      await look();
      isLost = false;
    } catch (error) {
      if (signal.aborted || !(error instanceof ConnectionError)) throw error;
      if (!isLost) lost(`${error.message}; trying again`);
      isLost = true;
    }
  }
}
