import { z } from "zod";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { type Engine, EngineError } from "./engine.ts";

/** A container as it was made, possibly by rules of another time. */
export interface Standing {
  what: string;
  /** Its image by every name that it was asked for. */
  images: readonly [string, ...string[]];
  container: Pick<InstanceSpec, "volumes" | "container" | "network" | "resources">;
}

/** Why a container may not be started; `undefined` when it may. */
export type Admits = (standing: Standing) => Promise<string | undefined>;

/** Kept from its start by this host's rules. The message says which. */
export class NotAdmitted extends Error {
  override readonly name = "NotAdmitted";
}

/** Engine calls that only read. */
const WITHIN_MS = 60_000;
const LABEL_SPEC = "sluice.spec";
const LABEL_HOST = "sluice.host";

const mountSchema = z.object({
  Type: z.string(),
  Source: z.string().optional(),
  Target: z.string(),
  ReadOnly: z.boolean().optional(),
});
const madeSchema = z.object({
  Id: z.string(),
  Name: z.string(),
  Config: z.object({ Image: z.string(), Labels: z.record(z.string(), z.string()).nullish() }),
  HostConfig: z.object({
    Mounts: z.array(mountSchema).nullish(),
    CapAdd: z.array(z.string()).nullish(),
    NetworkMode: z.string().optional(),
    NanoCpus: z.number().optional(),
    Memory: z.number().optional(),
  }),
});
type Made = z.infer<typeof madeSchema>;

/** For a runtime without rules. */
export const noDirectories: Admits = async ({ container }) => {
  const directory = container.volumes.find(({ source }) => source.startsWith("/"));
  return directory && `no rule of this host allows its directory ${directory.source}`;
};

/**
 * Asks the rules about a container as the engine has it, right before it is started: a directory may have become a link since
 * it was made, and rules may be stricter. Throws {@link NotAdmitted}. One that is gone is the start's own to find.
 */
export async function admit(engine: Engine, name: string, admits: Admits): Promise<void> {
  const made = await find(engine, name);
  if (!made) return;
  const standing = standingOf(made);
  const why = (await admits(standing)) ?? (await nested(engine, made.Id, standing));
  if (why !== undefined) throw new NotAdmitted(why);
}

async function find(engine: Engine, name: string): Promise<Made | undefined> {
  const signal = AbortSignal.timeout(WITHIN_MS);
  try {
    return await engine.json(madeSchema, "GET", `/containers/${name}/json`, { signal });
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return undefined;
    throw thrown;
  }
}

function standingOf({ Name, Config, HostConfig }: Made): Standing {
  const { Mounts, CapAdd, NetworkMode = "default", NanoCpus, Memory } = HostConfig;
  const asked = askedImage(Config.Labels?.[LABEL_SPEC]);
  return {
    what: `container ${Name.replace(/^\//, "")}`,
    images: asked === undefined ? [Config.Image] : [Config.Image, asked],
    container: {
      // A random name is one that the engine gave: data that an image asked for.
      volumes: (Mounts ?? []).flatMap(({ Source = "", Target, ReadOnly = false }) =>
        Source === "" || /^[0-9a-f]{64}$/.test(Source)
          ? []
          : [{ source: Source, target: Target, readOnly: ReadOnly }],
      ),
      container: {
        capabilities: (CapAdd ?? []).map((name) => name.replace(/^CAP_/, "")),
        readOnly: false,
        tmpfs: [],
        ulimits: {},
      },
      ...(!["default", "bridge"].includes(NetworkMode) && { network: NetworkMode }),
      resources: {
        ...(NanoCpus && { cpus: NanoCpus / 1e9 }),
        ...(Memory && { memoryBytes: Memory }),
      },
    },
  };
}

const specSchema = z.object({ image: z.string() });

/** An accessory runs by the id of an image that was asked for by name. */
function askedImage(label: string | undefined): string | undefined {
  try {
    return specSchema.safeParse(JSON.parse(label ?? "null")).data?.image;
  } catch {
    return undefined; // a label somebody edited is as good as none
  }
}

const rowsSchema = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()),
    Mounts: z.array(
      z.object({ Type: z.string(), Source: z.string().optional(), RW: z.boolean().optional() }),
    ),
  }),
);

/**
 * Whether this container or another of ours, made by rules of another time, can write above a directory of the other: it could
 * put a link in the directory's place between the look at it and its mounting, which for accessories the engine does again.
 */
async function nested(engine: Engine, id: string, { container }: Standing): Promise<string | undefined> {
  const own = container.volumes.filter(({ source }) => source.startsWith("/"));
  if (own.length === 0) return undefined;
  const rows = await engine.json(rowsSchema, "GET", "/containers/json", {
    query: { all: "1", filters: JSON.stringify({ label: [LABEL_HOST] }) },
    signal: AbortSignal.timeout(WITHIN_MS),
  });
  for (const { Names, Mounts } of rows.filter((row) => row.Id !== id)) {
    const other = Names[0]?.replace(/^\//, "") ?? "another container";
    for (const { Type, Source = "", RW = true } of Mounts)
      for (const { source, readOnly } of Type === "bind" ? own : []) {
        if (RW && source.startsWith(`${Source}/`)) return beneath(source, Source, other);
        if (!readOnly && Source.startsWith(`${source}/`)) return beneath(Source, source, `it, not ${other},`);
      }
  }
  return undefined;
}

const beneath = (lower: string, upper: string, who: string) =>
  `the directory ${lower} lies beneath ${upper}, where ${who} may write, and could put a link in its place: remove one of the two containers first`;
