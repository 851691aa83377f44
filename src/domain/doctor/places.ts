/** What `sluice doctor` makes of where D1 and the objects are. Pure. */
import type { Check } from "./doctor.ts";

export interface Place {
  /** Cloudflare's data centre, `AMS`; null: it could not be told. */
  readonly colo: string | null;
  /** One trip to D1 from there, ms; null: none came back. */
  readonly databaseMs: number | null;
}

export interface Places {
  /** Where new objects are asked to be, `weur`; null: near whoever calls them first. */
  readonly region: string | null;
  /** As D1 says with each answer: `WEUR`, `AMS`. */
  readonly database: { readonly region: string | null; readonly colo: string | null };
  readonly objects: readonly (Place & {
    /** `shop/production`, `web-1`. */
    readonly subject: string;
    readonly kind: "coordinator" | "link";
  })[];
}

/** From here on a release of some trips is slower by a second. */
const FAR_MS = 50;
/** Trips of a blue-green release, one after another (`npm run bench -- release`). */
const TRIPS = 17;

export function checkPlaces(found: Places): Check[] {
  const isTold = found.database.region !== null || found.objects.some(({ colo }) => colo !== null);
  if (!isTold) return [about("skip", "where D1 and the objects are can't be told here", null)];
  const far = found.objects.filter(({ databaseMs }) => (databaseMs ?? 0) >= FAR_MS);
  return [checkRegion(found), ...far.map((one) => farAway(one, found))];
}

function checkRegion({ region, database, objects }: Places): Check {
  const at = database.region?.toLowerCase() ?? null;
  const colos = (kind: "coordinator" | "link") =>
    [...new Set(objects.filter((one) => one.kind === kind).map(({ colo }) => colo ?? "unknown"))].sort();
  const parts = [
    `D1 is in ${at ?? "a region that it does not tell"}${database.colo === null ? "" : ` (${database.colo})`}`,
    ...(["coordinator", "link"] as const).flatMap((kind) => {
      const seen = colos(kind);
      return seen.length === 0
        ? []
        : [`${kind === "link" ? "hosts' objects" : "coordinators"} in ${seen.join(", ")}`];
    }),
  ];
  const detail = parts.join("; ");
  const fix = at === null ? "sluice setup --region <region>" : `sluice setup --region ${at}`;
  if (region === null) return about("warn", `${detail}; new objects begin near their first caller`, fix);
  if (at !== null && at !== region)
    return about("warn", `${detail}; but new objects are asked to be in ${region}, and D1 never moves`, fix);
  return about("ok", `${detail}; new objects are asked to be in ${region}`, null);
}

function farAway({ subject, kind, colo, databaseMs }: Places["objects"][number], { region }: Places): Check {
  const trip = databaseMs ?? 0;
  const what = kind === "link" ? "its object" : "its coordinator";
  const costs =
    kind === "link"
      ? "its tunnel is changed that much slower"
      : `a release makes some ${TRIPS} trips, one after another: ${((TRIPS * trip) / 1_000).toFixed(1)} s`;
  const again =
    kind === "link"
      ? `sluice hosts remove ${subject} and enrol it anew`
      : `sluice destroy ${subject} and apply it anew`;
  return {
    id: "object.place",
    subject,
    status: "warn",
    detail: `${what} is in ${colo ?? "an unknown place"}, ${trip} ms from D1; ${costs}`,
    fix: `an object never moves: if that is too slow, ${again}${region === null ? ", after sluice setup --region" : ""}`,
  };
}

const about = (status: Check["status"], detail: string, fix: string | null): Check => ({
  id: "control.region",
  subject: "control",
  status,
  detail,
  fix,
});
