import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";
import { wordsOf } from "../store/db.ts";
import { look, type Seen } from "./shield-look.ts";

/** What only control can find out, from inside Cloudflare. */
export type Inside = "request" | "object" | "alarm";

/** An object that belongs to no host and keeps nothing. */
const OBJECT = "doctor";

/** Asks a slot's hostname as control's request, one of its objects, or an object's alarm would. */
export function lookFrom(env: ControlEnv, from: Inside, hostname: string): Promise<Seen> {
  const url = `https://${hostname}/`;
  if (from === "request") return look(url);
  const object = objectIn(env.HOST_LINK, OBJECT, env);
  return from === "object" ? object.look(url) : object.lookInAlarm(url);
}

/** More than the 50 queries of an invocation that Free allows, and the 1,000 of Paid; none of them reads a row. */
const STATEMENTS = 1_001;

/** Null: D1 took a batch of so many statements. Else what it said. */
export async function askBatch({ DB }: Pick<ControlEnv, "DB">): Promise<string | null> {
  try {
    await DB.batch(Array.from({ length: STATEMENTS }, () => DB.prepare("SELECT 1")));
    return null;
  } catch (error) {
    return wordsOf(error);
  }
}
