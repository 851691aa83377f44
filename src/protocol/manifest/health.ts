import { z } from "zod";
import type { EnvironmentSpec, ProbeSpec } from "../../domain/spec.ts";
import { imageCheckSchema } from "./container.ts";
import { checkDuration, commandSchema, deadline, path } from "./scalars.ts";

/** When an instance is ready, stays so, and lives (`health:`). */

const STATUS = "must be a status such as 204, a range such as 200-399, or a list of these";
const statusRange = z
  .union([z.number().int(), z.string()], { error: STATUS })
  .transform((given): [number, number] => {
    const [, from, to = from] = /^(\d{3})(?:-(\d{3}))?$/.exec(String(given)) ?? [];
    return [Number(from), Number(to)];
  })
  .refine(([from, to]) => from >= 100 && to <= 599 && from <= to, STATUS);
const statusSchema = z
  .union([statusRange, z.array(statusRange).min(1).max(20)], { error: STATUS })
  .transform((given) =>
    typeof given[0] === "number" ? [given as [number, number]] : (given as [number, number][]),
  );

const HEADER = "must be a header's name, such as Authorization";
/** The agent's own to say. */
const OWN_HEADERS = new Set(["host", "connection", "content-length", "transfer-encoding"]);
const headersSchema = z
  .record(
    z
      .string()
      .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, HEADER)
      .refine((name) => !OWN_HEADERS.has(name.toLowerCase()), "is not set here: for Host there is `host`"),
    z.string({ error: "must be text" }).regex(/^[\t\x20-\x7e\x80-\xff]*$/, "must be one line of text"),
  )
  .refine((headers) => Object.keys(headers).length <= 20, "must be at most 20 headers");

const HOST = "must be a hostname such as shop.example.com";
const probe = {
  path: path.optional(),
  tcp: z.literal(true, { error: "must be true, or left out" }).optional(),
  command: commandSchema.optional(),
  host: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,253}(:\d{1,5})?$|^\[[0-9A-Fa-f:]+\](:\d{1,5})?$/, HOST)
    .optional(),
  headers: headersSchema.optional(),
  status: statusSchema.optional(),
  port: z.number().int().min(1).max(65_535).optional(),
  interval: checkDuration.optional(),
  timeout: checkDuration.optional(),
  failures: z.number().int().min(1).max(100).optional(),
  successes: z.number().int().min(1).max(100).optional(),
};
const GET_ONLY = ["host", "headers", "status"] as const;

interface Given {
  readonly path?: string | undefined;
  readonly tcp?: true | undefined;
  readonly command?: readonly string[] | undefined;
  readonly host?: string | undefined;
  readonly headers?: object | undefined;
  readonly status?: unknown;
  readonly port?: number | undefined;
}

/** A check is of one kind, and has the keys of that kind. */
function refuseMixed(given: Given, context: z.RefinementCtx): void {
  const kinds = (["path", "tcp", "command"] as const).filter((key) => given[key] !== undefined);
  const [kind = "path", other] = kinds;
  const refuse = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  if (other) refuse(other, `stands beside \`${kind}\`: a check is one of path, tcp and command`);
  if (kind === "path") return;
  for (const key of GET_ONLY)
    if (given[key] !== undefined)
      refuse(key, `belongs to a check by \`path\`, and this one is by \`${kind}\``);
  if (kind === "command" && given.port !== undefined)
    refuse("port", "belongs to a check by `path` or `tcp`: the command names its own");
}

export const healthSchema = z
  .strictObject({
    startup: z
      .strictObject({ ...probe, deadline: deadline.optional() })
      .superRefine(refuseMixed)
      .optional(),
    readiness: z.strictObject(probe).superRefine(refuseMixed).optional(),
    liveness: z.strictObject(probe).superRefine(refuseMixed).optional(),
    /** The image's own HEALTHCHECK: `off`, or another in its place. */
    image: imageCheckSchema.optional(),
  })
  .default({});

type Health = z.output<typeof healthSchema>;
type ProbeInput = NonNullable<Health["readiness"]>;

/** Startup asks what readiness asks, if it doesn't say itself; a GET says `host`, the name that visitors come by. */
export function toHealth(health: Health, host: string | undefined): EnvironmentSpec["health"] {
  const readiness = toProbe(health.readiness ?? {}, READINESS, host);
  const { deadline, ...startup } = health.startup ?? {};
  const kind = hasKind(startup) ? startup : { ...health.readiness, ...startup };
  return {
    startup: {
      ...toProbe({ ...kind, ...timesOf(startup) }, STARTUP, host),
      deadlineMs: deadline ?? 60_000,
    },
    readiness,
    ...(health.liveness ? { liveness: toProbe(health.liveness, LIVENESS, host) } : {}),
  };
}

interface Defaults {
  readonly intervalMs: number;
  readonly failures: number;
}
const STARTUP: Defaults = { intervalMs: 250, failures: 1 };
const READINESS: Defaults = { intervalMs: 5_000, failures: 3 };
const LIVENESS: Defaults = { intervalMs: 10_000, failures: 3 };

const hasKind = ({ path, tcp, command }: ProbeInput) => path !== undefined || tcp || command !== undefined;
/** How often and how long is each check's own. */
const timesOf = ({ interval, timeout, failures, successes }: ProbeInput) => ({
  interval,
  timeout,
  failures,
  successes,
});

function toProbe(input: ProbeInput, defaults: Defaults, host: string | undefined): ProbeSpec {
  const { port } = input;
  return {
    ...kindOf(input, host),
    ...(port === undefined ? {} : { port }),
    intervalMs: input.interval ?? defaults.intervalMs,
    timeoutMs: input.timeout ?? 3_000,
    failures: input.failures ?? defaults.failures,
    successes: input.successes ?? 1,
  };
}

function kindOf(input: ProbeInput, publicHost: string | undefined): Partial<ProbeSpec> {
  const { tcp, command, headers, status } = input;
  if (tcp) return { tcp };
  if (command) return { command };
  const host = input.host ?? publicHost;
  return {
    path: input.path ?? "/",
    ...(host === undefined ? {} : { host }),
    ...(headers === undefined ? {} : { headers }),
    ...(status === undefined ? {} : { statuses: status }),
  };
}
