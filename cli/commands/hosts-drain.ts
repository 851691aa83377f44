import { setTimeout as sleep } from "node:timers/promises";
import type { HostView } from "../../src/protocol/api/hosts.ts";
import { EXIT } from "../exit-codes.ts";
import { workOf } from "../io/host-work.ts";
import { clean } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";

interface DrainOptions {
  readonly undo?: boolean;
  readonly force?: boolean;
  readonly wait: boolean;
  readonly timeout: number;
}

const LOOK_MS = 2_000;

/** Empties a host and waits until nothing is left; or lets it carry again. */
export async function drain(session: Session, name: string, options: DrainOptions): Promise<Outcome> {
  if (options.undo) {
    const host = await session.client.hosts.undrain(name);
    session.out.say(`${clean(host.name)} may carry again; what has moved stays where it went`);
    return { exit: EXIT.ok, json: { host } };
  }
  let host = await session.client.hosts.drain(name, { force: options.force === true });
  session.out.say(`${clean(host.name)} drains${left(host)}`);
  const until = session.now() + options.timeout;
  let said = left(host);
  while (options.wait && workOf(host).length > 0 && session.now() < until) {
    await sleep(LOOK_MS, undefined, { signal: session.signal });
    host = await session.client.hosts.get(name);
    if (!host.drain) {
      session.out.say(`${clean(host.name)} is drained no more: somebody let it carry again`);
      return { exit: EXIT.refused, json: { host } };
    }
    if (left(host) !== said) session.out.say(`${clean(host.name)}${left(host) || " has nothing left"}`);
    said = left(host);
  }
  for (const one of host.accessories)
    session.out.say(
      `stays: accessory ${clean(`${one.name} of ${one.app}/${one.environment}`)}, with its volumes`,
    );
  if (workOf(host).length === 0) {
    session.out.say(`${clean(host.name)} is empty: sluice hosts remove ${clean(host.name)}, or --undo`);
    return { exit: EXIT.ok, json: { host } };
  }
  if (!options.wait) return { exit: EXIT.ok, json: { host } };
  session.out.say(
    `${clean(host.name)} is not empty yet, and goes on by itself: sluice hosts show ${clean(name)}`,
  );
  return { exit: EXIT.noAnswer, json: { host } };
}

function left(host: HostView): string {
  const work = workOf(host);
  return work.length === 0 ? "" : `: ${work.length} left: ${work.join(", ")}`;
}
