import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError } from "../../src/client/index.ts";
import type { AccessoryView } from "../../src/protocol/api/accessories.ts";
import { clean } from "../io/print.ts";
import { Interrupted } from "../io/problem.ts";
import type { Session } from "../session.ts";

/** How a command about an accessory ended. `kept`: it failed, and what ran before runs. */
export type AccessoryEnd =
  | { readonly kind: "done" | "kept" | "failed" | "timeout" | "detached"; readonly view: AccessoryView }
  | { readonly kind: "lost"; readonly view: AccessoryView; readonly reason: string };

interface Following {
  readonly app: string;
  readonly environment: string;
  readonly name: string;
  readonly timeoutMs: number;
}

const LOOK_MS = 500;
/** A CI log that says nothing for longer looks dead. */
const BEAT_MS = 30_000;

/** Looks at an accessory until what was begun with it has ended. Never changes it: control owns it. */
export async function followAccessory(
  session: Session,
  begun: AccessoryView,
  following: Following,
): Promise<AccessoryEnd> {
  const deadline = session.now() + following.timeoutMs;
  const tell = teller(session);
  let view = begun;
  try {
    for (;;) {
      const end = endOf(begun, view);
      if (end) return { kind: end, view };
      if (session.now() >= deadline) return { kind: "timeout", view };
      tell(view);
      await sleep(LOOK_MS, undefined, { signal: session.signal });
      const { items } = await session.client.accessories.list(following.app, following.environment);
      const found = items.find(({ name }) => name === following.name);
      view = found ?? { ...view, state: "absent", job: null };
    }
  } catch (error) {
    if (session.signal.aborted || error instanceof Interrupted) return { kind: "detached", view };
    if (error instanceof ConnectionError) return { kind: "lost", view, reason: error.message };
    throw error;
  }
}

/** Undefined: not over. One whose row is gone was removed, which is what was asked for. */
function endOf(begun: AccessoryView, view: AccessoryView): "done" | "kept" | "failed" | undefined {
  if (view.state === "absent") return "done";
  if (view.state === "starting" || view.state === "stopping") return undefined;
  if (view.state === "failed") return "failed";
  const isOurs = view.job !== null && view.job.id === begun.job?.id;
  return isOurs && view.job?.state === "failed" ? "kept" : "done";
}

/** Says each change of state, and while a thing takes long, how far it is. */
function teller({ out, now }: Session): (view: AccessoryView) => void {
  let said = "";
  let saidAt = 0;
  return ({ name, state, host, job }) => {
    const head = `${clean(name)} is ${state}${host === null ? "" : ` on ${clean(host)}`}`;
    const isQuiet = head === said && now() - saidAt < BEAT_MS;
    if (isQuiet) return;
    const progress = job?.progress ? `: ${clean(job.progress)}` : "";
    out.say(`${head === said ? "still: " : ""}${head}${progress}`);
    said = head;
    saidAt = now();
  };
}
