/** What the Free plan of Workers allows in a day (00:00 to 24:00 UTC), and how much of it is used. Pure. */
import type { Check } from "./doctor/doctor.ts";

/** What its objects counted of a day. */
export interface Used {
  /** Visitors' requests, as the edge counted them. */
  readonly visitors: number;
  /** Calls of coordinators and meters: nearly all requests to Durable Objects. */
  readonly objectCalls: number;
  /** Rows that the meters wrote: nearly all that Durable Objects write. */
  readonly objectRows: number;
  /** Copies of routing tables written to KV. */
  readonly tableCopies: number;
}

/** What Sluice itself counted today, since 00:00 UTC. */
export interface DayOfUse extends Used {
  /** Epoch ms. */
  readonly now: number;
  readonly hosts: number;
  /** Releases asked for. */
  readonly releases: number;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** A ping each 30 s, twenty of which are billed as one request. */
const MINUTES_A_PINGS = 10;
/** D1 rows of a release, at the most (docs/limits.md). */
const ROWS_OF_RELEASE = 350;

interface Allowance {
  readonly id: string;
  readonly limit: number;
  readonly what: string;
  readonly used: (day: DayOfUse, minutes: number) => number;
  /** From then until 00:00 UTC. */
  readonly stops: string;
  readonly fix: string;
}

const PAID = "take the Workers Paid plan ($5 a month) before: dash.cloudflare.com, Workers & Pages, Plans";

const OBJECTS_STOP = "the edge serves by its last tables; no release, rollback, weight or count goes through";

/** Limits: https://developers.cloudflare.com/workers/platform/limits/, …/durable-objects/platform/pricing/, …/d1/platform/pricing/, …/kv/platform/limits/ */
const ALLOWANCES: readonly Allowance[] = [
  {
    id: "plan.requests",
    limit: 100_000,
    what: "Worker requests",
    // Each host polls once a minute, and so does control's own schedule.
    used: ({ visitors, hosts }, minutes) => visitors + (hosts + 1) * minutes,
    stops:
      "visitors get error 1027 in every app's place, agents and the command line too (a route set to “fail open” would lead past the edge, where nothing stands)",
    fix: PAID,
  },
  {
    id: "plan.object_requests",
    limit: 100_000,
    what: "Durable Object requests",
    // The schedule has the audit log chained.
    used: ({ objectCalls, hosts }, minutes) => objectCalls + minutes + (hosts * minutes) / MINUTES_A_PINGS,
    stops: OBJECTS_STOP,
    fix: PAID,
  },
  {
    id: "plan.object_rows",
    limit: 100_000,
    what: "rows written by Durable Objects",
    used: ({ objectRows }) => objectRows,
    stops: OBJECTS_STOP,
    fix: PAID,
  },
  {
    id: "plan.database_rows",
    limit: 100_000,
    what: "rows written in D1",
    used: ({ hosts, releases }, minutes) => hosts * minutes + releases * ROWS_OF_RELEASE,
    stops:
      "the edge serves by its last tables; nothing that changes anything goes through, and agents' polls fail",
    fix: PAID,
  },
  {
    id: "plan.table_copies",
    limit: 1_000,
    what: "KV writes",
    used: ({ tableCopies }) => tableCopies,
    stops: "copies of the tables age: an edge that starts while control is away serves by an old one",
    fix: "shorter canaries or fewer hostnames, or the Workers Paid plan",
  },
];

const WARN_SHARE = 0.8;
/** Early in the day a pace says little. */
const PACE_FROM_SHARE = 0.4;

/** A check for each allowance: it warns when most is used, and when it would end before the day does. */
export const checkAllowances = (day: DayOfUse): Check[] => ALLOWANCES.map((one) => checkOne(one, day));

function checkOne({ id, limit, what, used: usedOf, stops, fix }: Allowance, day: DayOfUse): Check {
  const passedMs = day.now % DAY_MS;
  const used = Math.round(usedOf(day, passedMs / MINUTE_MS));
  const check = { id, subject: "free plan" };
  const detail = `about ${grouped(used)} of ${grouped(limit)} ${what} used today`;
  // What a Free account can't have used is a Paid one's.
  if (used > limit * 1.1)
    return {
      ...check,
      status: "skip",
      detail: `${detail}: more than Free gives, so this is a Paid account`,
      fix: null,
    };
  const endsAt = day.now - passedMs + (passedMs * limit) / Math.max(used, 1);
  const endsToday = endsAt < day.now - passedMs + DAY_MS;
  const share = used / limit;
  if (share < WARN_SHARE && !(endsToday && share >= PACE_FROM_SHARE))
    return { ...check, status: "ok", detail, fix: null };
  const when =
    share >= 1
      ? "it is used up"
      : endsToday
        ? `at this pace it ends at ${clockOf(endsAt)} UTC`
        : "most is used";
  const words = `${detail}: ${when}. If the account is on the Free plan, until 00:00 UTC then: ${stops}`;
  return { ...check, status: "warn", detail: words, fix };
}

const grouped = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ",");
const clockOf = (at: number): string => new Date(at).toISOString().slice(11, 16);
