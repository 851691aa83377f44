import { sql } from "drizzle-orm";
import { type AccessoryAction, accessoryWire, homeOf, moveOf, patienceMs } from "../../domain/accessory.ts";
import { isOnline } from "../../domain/host-online.ts";
import { pinOf } from "../../domain/image.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import type { AccessorySpec, EnvironmentSpec } from "../../domain/spec.ts";
import { moment } from "../../domain/times.ts";
import { newId } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import {
  type AccessoryRow,
  forgetAccessory,
  orderAccessory,
  readAccessories,
  readHostsWith,
} from "../store/accessories.ts";
import { type Db, runBatch, unlessOvertaken } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import type { EnvironmentStatus } from "../store/status.ts";
import { homeStateOf } from "../views/accessory.ts";

const ATTEMPTS = 5;

export interface Command {
  readonly environment: EnvironmentStatus["environment"];
  readonly name: string;
  readonly action: AccessoryAction;
  readonly actor: string;
  /** Why these secrets can't be handed out; undefined: they can. */
  readonly lackOf: (names: readonly string[]) => Promise<Refusal | undefined>;
  readonly now: number;
}

/**
 * Has something done with an accessory, once: whoever says the same at the same moment joins. Answers the host to wake,
 * null where nothing was left to do.
 */
export async function commandAccessory(db: Db, command: Command): Promise<Result<string | null, Refusal>> {
  const done = await unlessOvertaken(ATTEMPTS, async () => {
    const rows = await readAccessories(db, sql`(${command.environment.id})`);
    const decided = await decide(db, command, rows);
    if (!decided.ok || decided.value === null) return decided.ok ? ok(null) : decided;
    await runBatch(db, decided.value.statements);
    return ok(decided.value.hostId);
  });
  if (done) return done;
  const detail = `${command.name} changed under this request ${ATTEMPTS} times: look at it, then say it again`;
  return err({ code: "conflict", detail });
}

interface Decided {
  /** Null: nothing is to be done there. */
  readonly hostId: string | null;
  readonly statements: Parameters<typeof runBatch>[1];
}

async function decide(
  db: Db,
  command: Command,
  rows: readonly AccessoryRow[],
): Promise<Result<Decided | null, Refusal>> {
  const { name, action, now, environment } = command;
  const row = rows.find((candidate) => candidate.name === name);
  const declared = declaredIn(environment.spec, name);
  if (!row && !declared) return err(unknown(command, rows));
  if (row && homeStateOf(row, now) === "removed") return hostless(db, command, row);
  const move = moveOf(row, action);
  if (move.kind === "stand") return ok(null);
  if (move.kind === "refuse") return err({ code: "conflict", detail: move.detail });
  const spec = specToRun(action, row, declared);
  if (!spec) return err(undeclared(command));
  const host = await homeFor(db, command, rows);
  if (!host.ok) return host;
  const makes = action === "start" || action === "upgrade";
  const lack = makes ? await command.lackOf(spec.secrets) : undefined;
  if (lack) return err(lack);
  const job = { id: newId("acc", now), deadlineAt: now + patienceMs(action, spec) };
  const image = action === "start" ? (row?.pinnedImage ?? spec.image) : spec.image;
  const wire = accessoryWire(environment.spec, { name, spec, image });
  const payload = { action, spec: wire, declared: spec, secrets: spec.secrets, pin: pinOf(image) };
  const order = { environmentId: environment.id, name, before: row ?? null, state: move.state };
  return ok({
    hostId: host.value.id,
    statements: [
      ...orderAccessory(db, { ...order, hostId: host.value.id, spec, job: { ...job, payload }, now }),
      event(db, command, {
        message: `${name}: ${action} on ${host.value.name}, ${image}`,
        data: { host: host.value.name, job: job.id, state: move.state },
      }),
    ],
  });
}

const declaredIn = (spec: EnvironmentSpec, name: string): AccessorySpec | undefined =>
  spec.accessories && Object.hasOwn(spec.accessories, name) ? spec.accessories[name] : undefined;

/** What ran before is run again as it was: only an upgrade makes it what the manifest has now. */
function specToRun(
  action: AccessoryAction,
  row: AccessoryRow | undefined,
  declared: AccessorySpec | undefined,
): AccessorySpec | undefined {
  if (action === "upgrade") return declared;
  if (action === "start" && row?.pinnedImage === null) return declared ?? row.spec;
  return row?.spec ?? declared;
}

/** Where it is, or is to be; refused when nobody there would hear of it. */
async function homeFor(
  db: Db,
  { environment, name, now }: Command,
  rows: readonly AccessoryRow[],
): Promise<Result<{ id: string; name: string }, Refusal>> {
  const row = rows.find((candidate) => candidate.name === name);
  if (row)
    return homeStateOf(row, now) === "online"
      ? ok({ id: row.hostId, name: row.hostName })
      : err(offline(name, { name: row.hostName, lastSeenAt: row.hostSeenAt }));
  const hosts = await readHostsWith(db, environment.spec.hosts);
  const home = homeOf({ spec: environment.spec, name, homes: [], hosts });
  if (!home.ok) return home;
  if (!isOnline(home.value, now)) return err(offline(name, home.value));
  if (home.value.runtime === "docker") return home;
  const detail = `${home.value.name} runs plain processes, and an accessory is a container: enrol a host with Docker, or run ${name} there by other means`;
  return err({ code: "no_hosts", detail });
}

function offline(
  accessory: string,
  { name, lastSeenAt }: { name: string; lastSeenAt: number | null },
): Refusal {
  const seen = lastSeenAt === null ? "it was never heard from" : `last heard from at ${moment(lastSeenAt)}`;
  const detail = `${accessory} is for ${name}, which is offline (${seen}): nothing was asked of it. Start its agent, then say it again`;
  return { code: "no_hosts", detail, next: [{ command: `sluice hosts show ${name}`, when: "to see it" }] };
}

/** Its host was removed: there is nobody to ask, so all that can be done is to forget it. */
function hostless(db: Db, command: Command, row: AccessoryRow): Result<Decided | null, Refusal> {
  const { name, action } = command;
  if (action !== "remove") {
    const detail = `${name} lived on ${row.hostName}, which was removed: remove ${name} too, to forget it; then it can be started elsewhere, without what its volumes held there`;
    return err({ code: "no_hosts", detail });
  }
  const message = `${name} is forgotten: its host ${row.hostName} was removed`;
  const forgotten = event(db, command, { message, data: { host: row.hostName, state: "absent" } });
  return ok({ hostId: null, statements: [forgetAccessory(db, row), forgotten] });
}

function event(db: Db, command: Command, said: { message: string; data: Record<string, unknown> }) {
  const { environment, actor, now, name, action } = command;
  return insertEvent(db, {
    at: now,
    type: "accessory.state",
    actor,
    app: environment.spec.app,
    environment: environment.name,
    environmentId: environment.id,
    message: said.message,
    data: { accessory: name, action, ...said.data },
  });
}

function unknown({ environment, name }: Command, rows: readonly AccessoryRow[]): Refusal {
  const { app, accessories = {} } = environment.spec;
  const known = [...new Set([...Object.keys(accessories), ...rows.map((row) => row.name)])].sort();
  const has = known.length > 0 ? `it has ${known.join(", ")}` : "its manifest has none";
  const detail = `${app}/${environment.name} has no accessory \`${name}\`: ${has}`;
  return { code: "not_found", detail };
}

function undeclared({ environment, name }: Command): Refusal {
  const detail = `the manifest has no \`accessories.${name}\` any more, so there is nothing to upgrade it to: put it back and apply, or leave it as it is`;
  const command = `sluice accessory list -a ${environment.spec.app} -e ${environment.name}`;
  return { code: "conflict", detail, next: [{ command, when: "to see how it is" }] };
}
