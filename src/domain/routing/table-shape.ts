/**
 * The door for routing tables: what arrives is checked once and trusted after that. A table of another schema or a
 * broken shape is kept out, because the last good one is worth more than a new one half understood.
 */
import { err, ok, type Result } from "../result.ts";
import { FULL_WEIGHT, type RoutingTable, TABLE_SCHEMA } from "./table.ts";

type Fields = Readonly<Record<string, unknown>>;
/** Answers what is wrong with a value, or null. */
type Check = (value: unknown) => string | null;

/** Parses a routing table; the error names the place and the value. */
export function parseTable(value: unknown): Result<RoutingTable, string> {
  const wrong = isObject(value)
    ? (wrongSchema(value) ?? TABLE(value) ?? wrongWeights(value))
    : "not an object";
  // Every field of the type was checked above.
  return wrong === null ? ok(value as unknown as RoutingTable) : err(`routing table refused: ${wrong}`);
}

function wrongSchema(table: Fields): string | null {
  if (table.schema === TABLE_SCHEMA) return null;
  return `schema ${show(table.schema)}, this edge reads ${TABLE_SCHEMA}: deploy the edge`;
}

function wrongWeights(table: Fields): string | null {
  const { releases, stable } = table as unknown as Pick<RoutingTable, "releases" | "stable">;
  const sum = releases.reduce((total, release) => total + release.weightBp, 0);
  if (sum !== 0 && sum !== FULL_WEIGHT) return `weights sum to ${sum}, not ${FULL_WEIGHT}`;
  if (stable !== null && !releases.some((release) => release.id === stable))
    return `stable ${show(stable)} is no release`;
  return null;
}

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

const text: Check = (value) => (typeof value === "string" ? null : `${show(value)} is no text`);
const flag: Check = (value) => (typeof value === "boolean" ? null : `${show(value)} is not true or false`);
const count: Check = (value) =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? null : `${show(value)} is no whole number from 0`;
const share: Check = (value) =>
  count(value) === null && Number(value) <= FULL_WEIGHT
    ? null
    : `${show(value)} is not within 0–${FULL_WEIGHT}`;
const id: Check = (value) =>
  typeof value === "string" && value.length > 0 && value.length <= 64 ? null : `${show(value)} is no id`;
const originUrl: Check = (value) =>
  typeof value === "string" && /^https?:\/\/[a-z0-9._-]+(:[0-9]{1,5})?$/.test(value)
    ? null
    : `${show(value)} is no origin (scheme, host, port; no path)`;
const hex: Check = (value) =>
  typeof value === "string" && /^([0-9a-f]{2})*$/.test(value) ? null : "no hexadecimal key";

const orNull =
  (check: Check): Check =>
  (value) =>
    value === null ? null : check(value);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined ? null : check(value);

function list(check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return `${show(value)} is no list`;
    for (const [index, item] of value.entries()) {
      const wrong = check(item);
      if (wrong !== null) return `[${index}] ${wrong}`;
    }
    return null;
  };
}

/** Unknown fields pass: control may be newer than the edge and add some. */
function shape(fields: Readonly<Record<string, Check>>): Check {
  return (value) => {
    if (!isObject(value)) return `${show(value)} is no object`;
    for (const [name, check] of Object.entries(fields)) {
      const wrong = check(value[name]);
      if (wrong !== null) return `${name}: ${wrong}`;
    }
    return null;
  };
}

function tagged(shapes: Readonly<Record<string, Check>>): Check {
  return (value) => {
    const kind = isObject(value) ? value.kind : undefined;
    const check = typeof kind === "string" && Object.hasOwn(shapes, kind) ? shapes[kind] : undefined;
    return check === undefined ? `kind ${show(kind)} is unknown` : check(value);
  };
}

const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string) ? null : `${show(value)} is none of ${words.join(", ")}`;

const keptTo = optional(oneOf("instance"));
const pair = shape({ name: text, value: text });
const INSTANCE = shape({ id, origin: originUrl, ready: flag });
const RELEASE = shape({
  id,
  version: text,
  weightBp: share,
  instances: list(INSTANCE),
  deployments: optional(list(text)),
});
const MATCH = shape({
  header: optional(pair),
  cookie: optional(pair),
  countries: optional(list(text)),
  pathPrefix: optional(text),
});
/** One check for each field of the type, so that none is trusted unseen; the schema has been looked at before. */
const TABLE = shape({
  schema: () => null,
  environment: id,
  app: text,
  environmentName: text,
  version: count,
  publishedAt: count,
  hostnames: list(text),
  stripPrefix: optional(flag),
  publicHost: optional(text),
  appPort: optional(count),
  salt: text,
  affinity: tagged({
    cookie: shape({ to: keptTo }),
    header: shape({ name: text, to: keptTo }),
    ip: shape({ to: keptTo }),
    none: shape({}),
  }),
  releases: list(RELEASE),
  stable: orNull(id),
  heir: optional(id),
  partialUntil: orNull(count),
  match: orNull(list(MATCH)),
  staleMs: optional(count),
  judged: optional(flag),
  watched: optional(flag),
  mirror: orNull(shape({ release: id, shareBp: share, compare: optional(oneOf("json")) })),
  mode: tagged({
    open: shape({}),
    paused: shape({ until: count }),
    maintenance: shape({ retryAfterS: count, message: orNull(text) }),
  }),
  previewKey: hex,
  originSuffixes: list(text),
  timeouts: shape({ responseMs: count }),
  rescue: optional(oneOf("off", "gateway", "errors")),
  hedge: optional(flag),
  sockets: optional(shape({ drainMs: count })),
  assets: optional(shape({ also: list(text), from: list(id) })),
  marks: optional(oneOf("rollout", "always", "never")),
  showRelease: flag,
} satisfies Record<keyof RoutingTable, Check>);
