import { createHash } from "node:crypto";
import { z } from "zod";
import { type AccessorySpec, accessorySpecSchema } from "../../../src/protocol/agent/accessory.ts";
import { systemClock } from "../../clock.ts";
import { describeExit, signalOf } from "../runtime.ts";
import { CALL_TIMEOUT_MS, type Calls } from "./calls.ts";
import { blankLabels, envOf, insteadOfImage, LABEL, walls } from "./container.ts";
import { type Engine, EngineError } from "./engine.ts";
import type { createDockerHealth } from "./health.ts";

/** Name of an accessory's container. */
export const accessoryName = (accessory: string): string => `sluice.acc-${accessory}`;

/** Where an upgrade keeps the container that ran before, until the new one has proven itself. */
export const asideName = (accessory: string): string => `${accessoryName(accessory)}.before`;

const foundSchema = z.object({
  Id: z.string(),
  RestartCount: z.number(),
  Config: z.object({ Image: z.string(), Labels: z.record(z.string(), z.string()).nullish() }),
  State: z.object({
    Status: z.string(),
    ExitCode: z.number(),
    OOMKilled: z.boolean(),
    StartedAt: z.string(),
  }),
  Mounts: z.array(z.object({ Type: z.string(), Name: z.string().optional(), Destination: z.string() })),
});
export type Found = z.infer<typeof foundSchema>;

const rowsSchema = z.array(
  z.object({ Names: z.array(z.string()), Labels: z.record(z.string(), z.string()) }),
);

export interface Made {
  readonly spec: AccessorySpec;
  /** Pinned. */
  readonly image: string;
  readonly host: string;
  /** The job that made it: by that an agent that died half-way knows its own work again. */
  readonly job: string;
  /** The container it takes the place of. */
  readonly before?: Found | undefined;
}

/**
 * The body of `POST /containers/create` for an accessory: the walls of an instance, but no port on the host, and restarted by
 * the engine, since it must come back with the machine whether or not an agent does.
 */
export function accessoryConfig({ spec, image, host, job, before }: Made) {
  const { Mounts, ...walled } = walls(spec);
  return {
    Image: image,
    ...(spec.command && { Cmd: spec.command }),
    Env: envOf(spec.env),
    Labels: {
      ...blankLabels(),
      [`${LABEL}.host`]: host,
      [`${LABEL}.accessory`]: spec.accessory,
      [`${LABEL}.app`]: spec.app,
      [`${LABEL}.environment`]: spec.environment,
      [`${LABEL}.job`]: job,
      [`${LABEL}.spec`]: JSON.stringify(withoutValues(spec)),
    },
    StopTimeout: Math.ceil(spec.stopGraceMs / 1000),
    ...insteadOfImage(spec),
    HostConfig: {
      ...walled,
      RestartPolicy: { Name: "unless-stopped" },
      Mounts: [...Mounts, ...unnamedVolumes(before, spec)],
    },
    ...(spec.network && {
      NetworkingConfig: { EndpointsConfig: { [spec.network]: { Aliases: [spec.name] } } },
    }),
  };
}

/** Data in a volume that only the image asked for lies under a random name: it goes on with the new container. */
function unnamedVolumes(before: Found | undefined, { volumes, container: { tmpfs } }: AccessorySpec) {
  const taken = new Set([...volumes.map(({ target }) => target), ...tmpfs]);
  return (before?.Mounts ?? []).flatMap(({ Type, Name = "", Destination }) =>
    Type === "volume" && /^[0-9a-f]{64}$/.test(Name) && !taken.has(Destination)
      ? [{ Type, Source: Name, Target: Destination, ReadOnly: false }]
      : [],
  );
}

/** Without the variables, and of its files the hashes: labels are for everyone to read. */
function withoutValues(spec: AccessorySpec): AccessorySpec {
  const { files, ...container } = spec.container;
  if (!files) return { ...spec, env: {} };
  const hashes = Object.entries(files).map(([path, text]) => [
    path,
    createHash("sha256").update(text).digest("hex"),
  ]);
  return { ...spec, env: {}, container: { ...container, files: Object.fromEntries(hashes) } };
}

export const labelOf = (found: Found, label: string): string | undefined =>
  found.Config.Labels?.[`${LABEL}.${label}`];

/** How a container differs from what is asked for; its variables apart, which only the engine knows. Empty: it does not. */
export function differsFrom(found: Found, asked: AccessorySpec): string[] {
  const text = labelOf(found, "spec");
  const had = accessorySpecSchema.safeParse(parseJson(text ?? "null"));
  if (!had.success) return ["what it was made from can't be read"];
  const { image, ...was } = had.data;
  const runs = found.Config.Image;
  // One that was never pushed runs by its id alone.
  const isSame = [image, runs].includes(asked.image) || asked.image.endsWith(`@${runs}`);
  const differs = isSame ? [] : [`image ${image}, not ${asked.image}`];
  for (const [key, value] of Object.entries(withoutValues(asked)))
    if (key !== "image" && JSON.stringify(Reflect.get(was, key)) !== JSON.stringify(value)) differs.push(key);
  return differs;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A label somebody edited is as good as none.
    return undefined;
  }
}

export type AccessoryCalls = ReturnType<typeof accessoryCalls>;

/** The engine's calls that accessories need beside those of every container. None of them ever removes a volume. */
export function accessoryCalls(engine: Engine) {
  const plain = () => ({ signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
  return {
    async find(name: string): Promise<Found | undefined> {
      try {
        return await engine.json(foundSchema, "GET", `/containers/${name}/json`, plain());
      } catch (thrown) {
        if (thrown instanceof EngineError && thrown.status === 404) return undefined;
        throw thrown;
      }
    },
    /** Those that have their name; not what an upgrade has set aside. */
    async list(host: string): Promise<string[]> {
      const filters = JSON.stringify({ label: [`${LABEL}.host=${host}`, `${LABEL}.accessory`] });
      const query = { all: "1", filters };
      const rows = await engine.json(rowsSchema, "GET", "/containers/json", { query, ...plain() });
      return rows.flatMap(({ Names, Labels }) => {
        const accessory = Labels[`${LABEL}.accessory`] ?? "";
        return Names.includes(`/${accessoryName(accessory)}`) ? [accessory] : [];
      });
    },
    async rename(from: string, to: string): Promise<void> {
      await engine.bytes("POST", `/containers/${from}/rename`, { query: { name: to }, ...plain() });
    },
    /** The container alone, unnamed volumes not. */
    async remove(name: string): Promise<void> {
      try {
        await engine.bytes("DELETE", `/containers/${name}`, { query: { force: "1" }, ...plain() });
      } catch (thrown) {
        // Gone, or being removed by somebody else: both are what was asked for.
        if (!(thrown instanceof EngineError && [404, 409].includes(thrown.status))) throw thrown;
      }
    },
  };
}

export const isUp = (found: Found | undefined): boolean => found?.State.Status === "running";

/** Ended, and not by our asking: the engine may be about to start it again. */
const LOOK_MS = 200;

export interface Watch {
  readonly name: string;
  /** It has to run this long without an end. */
  readonly forMs: number;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** Undefined: it is up, by its image's own health check too, if it has one. Else why not, in words. */
export async function staysUp(
  calls: AccessoryCalls,
  health: ReturnType<typeof createDockerHealth>,
  { name, forMs, signal, progress }: Watch,
): Promise<string | undefined> {
  const first = await calls.find(name);
  let seen = "";
  while (!signal.aborted) {
    const found = await calls.find(name);
    if (!found) return "was removed from outside";
    const isBack = found.RestartCount > (first?.RestartCount ?? 0);
    if (!isUp(found) || isBack) return ended(found);
    const upMs = systemClock.now() - Date.parse(found.State.StartedAt);
    const { state, output } = await health(name, signal);
    if (state === "unhealthy" || state === "broken")
      return `is unhealthy by its image's own check: ${output}`;
    if (upMs >= forMs && (state === "none" || state === "healthy")) return undefined;
    seen = state === "failing" ? `; its image's own check says: ${output}` : "";
    progress(state === "failing" ? "waiting until it is healthy" : "waiting whether it stays up");
    await systemClock.sleep(LOOK_MS, signal);
  }
  return `was not up when its time was over${seen}`;
}

/** One that the engine started again so lately may end again as it did. */
const RESTARTED_MS = 60_000;

/** Why one that is to run does not do its work, in words that go on its name; undefined: as far as can be seen, it does. */
export async function troubleOf(
  calls: AccessoryCalls,
  health: ReturnType<typeof createDockerHealth>,
  name: string,
): Promise<string | undefined> {
  const found = await calls.find(name);
  if (!found) return "is gone: its container was removed from outside";
  const isBack =
    found.RestartCount > 0 && systemClock.now() - Date.parse(found.State.StartedAt) < RESTARTED_MS;
  if (!isUp(found) || isBack) return ended(found);
  const { state, output } = await health(name, AbortSignal.timeout(CALL_TIMEOUT_MS));
  return state === "unhealthy" ? `is unhealthy by its image's own check: ${output}` : undefined;
}

function ended({ State, RestartCount }: Found): string {
  if (State.Status === "running") return `ended and was started again ${RestartCount} times`;
  const signal = State.OOMKilled ? "OOMKilled" : signalOf(State.ExitCode);
  return describeExit({ exitCode: State.ExitCode, ...(signal && { signal }) });
}

/** Ends it with its grace; one that the engine is about to restart, too. */
export async function endContainer(calls: Calls, name: string, graceMs: number): Promise<boolean> {
  await calls.stop(name, graceMs);
  return (await calls.inspect(name))?.State.ExitCode === 137;
}
