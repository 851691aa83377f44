import type { ResealAnswer } from "../../../src/protocol/api/secrets.ts";
import { EXIT } from "../../exit-codes.ts";
import { clean, plural } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";

/** Each call seals a bounded number: far more than this many are never there. */
const MAX_CALLS = 1_000;

/** Seals everything anew while control has a key before; without one it says how to begin. */
export async function rotateKey(session: Session): Promise<Outcome> {
  let answer = await session.client.secrets.reseal();
  let resealed = answer.resealed;
  for (let call = 1; answer.left > 0 && answer.resealed > 0 && call < MAX_CALLS; call += 1) {
    answer = await session.client.secrets.reseal();
    resealed += answer.resealed;
  }
  for (const item of answer.unreadable) {
    const where = item.environment === null ? item.app : `${item.app}/${item.environment}`;
    session.out.say(clean(`✖ ${item.kind} ${item.name} of ${where}: ${item.reason}`));
  }
  session.out.say(wordsOf(answer, resealed));
  const exit = answer.left > 0 || answer.unreadable.length > 0 ? EXIT.refused : EXIT.ok;
  return { exit, json: { ...answer, resealed, exitCode: exit } };
}

function wordsOf({ keyId, beforeKeyId, left }: ResealAnswer, resealed: number): string {
  const [key, before] = [clean(keyId), clean(beforeKeyId ?? "")];
  if (beforeKeyId === null) return beginning(key);
  if (left > 0)
    return `${plural(resealed, "value")} sealed anew under ${key}; ${left} are still under ${before}: set those again, then run this once more`;
  return [
    `${plural(resealed, "value")} sealed anew under ${key}; nothing is under ${before} any more. It can go:`,
    "  npx wrangler secret delete SECRETS_KEY_BEFORE",
  ].join("\n");
}

const beginning = (key: string) =>
  [
    `control has one key, ${key}, so there is nothing to seal anew. To rotate, with the key at hand that \`sluice setup\` told you to keep:`,
    `  npx wrangler secret put SECRETS_KEY_BEFORE      the present key: ${key}:…`,
    '  npx wrangler secret put SECRETS_KEY             a new one under another id: echo "<id>:$(openssl rand -base64 32)"',
    "  sluice secrets rotate-key                       then this again",
    "In that order: between the two, control opens with the present key as before.",
  ].join("\n");
