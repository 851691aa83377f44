import { rotateAnswerSchema } from "../../src/protocol/agent/enroll.ts";
import type { Log } from "../log.ts";
import { words } from "../outcome.ts";
import type { Control } from "./control.ts";
import type { Identity } from "./identity.ts";

/** Trades the host's token for a new one. Answers whether it did; until then the old one goes on counting. */
export async function renewToken(deps: { control: Control; identity: Identity; log: Log }): Promise<boolean> {
  const { control, identity, log } = deps;
  const answer = await control("/agent/v1/rotate", {}, rotateAnswerSchema);
  if (!answer.ok) {
    log.warn("no new token so far; the old one counts until then", { detail: answer.detail });
    return false;
  }
  try {
    await identity.renew(answer.value.token);
  } catch (thrown) {
    log.error("the new token can't be written; the old one stays in use", { detail: words(thrown) });
    return false;
  }
  log.info("this host's token was renewed");
  return true;
}
