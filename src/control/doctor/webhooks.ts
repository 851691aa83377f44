import type { Check } from "../../domain/doctor/doctor.ts";
import { type Db, wordsOf } from "../store/db.ts";
import { readBrokenWebhooks } from "../store/notify/webhooks.ts";

const LOOK_BACK_MS = 7 * 86_400_000;

/** Targets that were told nothing lately, each with why. */
export async function examineWebhooks(at: { db: Db; now: number }): Promise<Check[]> {
  try {
    const broken = await readBrokenWebhooks(at.db, at.now - LOOK_BACK_MS);
    return broken.map(({ id, url, disabledCause, failed, error }) => ({
      id: "webhook.delivery",
      subject: id,
      status: "warn",
      detail:
        disabledCause === null
          ? `${failed} messages to ${url} were given up within 7 days: ${error}`
          : `${url} is told of nothing more: ${disabledCause}`,
      fix:
        disabledCause === null
          ? `mend it, then: sluice webhooks replay ${id}`
          : `sluice webhooks rm ${id}, and add it again`,
    }));
  } catch (error) {
    const detail = `what was delivered can't be read: ${wordsOf(error)}`;
    return [{ id: "webhook.delivery", subject: "control", status: "fail", detail, fix: null }];
  }
}
