import type { Check } from "../../domain/doctor/doctor.ts";
import { checkPlaces, type Place } from "../../domain/doctor/places.ts";
import { regionOf } from "../../protocol/region.ts";
import { atMost } from "../at-most.ts";
import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";
import type { Db } from "../store/db.ts";
import { readPlaced } from "../store/findings.ts";

/** Says where it is asked from: https://developers.cloudflare.com/fundamentals/reference/cdn-cgi-endpoint/ */
const TRACE = "https://www.cloudflare.com/cdn-cgi/trace";
const DEADLINE_MS = 3_000;
/** Of each kind: enough to see where they are. */
const MOST_OBJECTS = 10;

/** Asks D1, and some objects of each kind, where they are. Makes no object that isn't there: all of these have been called. */
export async function examinePlaces({ env, db }: { env: ControlEnv; db: Db }): Promise<Check[]> {
  const placed = await readPlaced(db, MOST_OBJECTS);
  const [database, objects] = await Promise.all([
    databasePlace(env),
    atMost(6, placed, (one) => ask(env, one)),
  ]);
  return checkPlaces({
    region: regionOf(env.REGION),
    database,
    objects: objects.filter((one) => one !== null),
  });
}

type Placed = Awaited<ReturnType<typeof readPlaced>>[number];

/** Null: it does not answer; who else asks it says so. */
async function ask(env: ControlEnv, { id, kind, subject }: Placed) {
  const object = kind === "link" ? objectIn(env.HOST_LINK, id, env) : objectIn(env.COORDINATOR, id, env);
  try {
    return { subject, kind, ...(await object.place()) };
  } catch {
    return null;
  }
}

async function databasePlace({ DB }: Pick<ControlEnv, "DB">) {
  const { meta } = await DB.prepare("SELECT 1").run();
  return { region: meta.served_by_region ?? null, colo: meta.served_by_colo ?? null };
}

/** Where the caller runs, and how far D1 is from there. */
export async function placeHere({
  DB,
  CLOUDFLARE_API_URL,
}: Pick<ControlEnv, "DB" | "CLOUDFLARE_API_URL">): Promise<Place> {
  // Another API is a stand-in's, which is nowhere.
  const colo = CLOUDFLARE_API_URL === undefined ? traced() : null;
  const [at, databaseMs] = await Promise.all([colo, tripTo(DB)]);
  return { colo: at, databaseMs };
}

async function traced(): Promise<string | null> {
  try {
    const response = await fetch(TRACE, { signal: AbortSignal.timeout(DEADLINE_MS) });
    return /^colo=([A-Z]{3})$/m.exec(await response.text())?.[1] ?? null;
  } catch {
    return null;
  }
}

/** The second of two: the first may have to connect. */
async function tripTo(database: D1Database): Promise<number | null> {
  try {
    await database.prepare("SELECT 1").run();
    const startedAt = Date.now();
    await database.prepare("SELECT 1").run();
    return Date.now() - startedAt;
  } catch {
    return null;
  }
}
