import { z } from "zod";
import type { Known } from "../runtime.ts";
import { CALL_TIMEOUT_MS, type Calls } from "./calls.ts";
import { LABEL } from "./container.ts";
import { type Engine, EngineError } from "./engine.ts";

/** What was only made may be about to begin; what ended may still be asked about. */
const MADE_FOR_MS = 3_600_000;
const ENDED_FOR_MS = 86_400_000;

const rowSchema = z.object({
  Id: z.string(),
  State: z.string(),
  /** Epoch seconds. */
  Created: z.number(),
  Labels: z.record(z.string(), z.string()).nullish(),
  HostConfig: z.object({ NetworkMode: z.string().optional() }).nullish(),
  NetworkSettings: z.object({ Networks: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});
export type Row = z.infer<typeof rowSchema>;
const networksSchema = z.array(z.object({ Id: z.string(), Name: z.string(), Created: z.string() }));

export interface Sweep {
  engine: Engine;
  calls: Calls;
  host: string;
  known: Known;
  /** Epoch ms. */
  now: number;
}

/**
 * Removes what an agent that was killed, or lost its journal, left behind on this host: containers that don't run and that
 * nobody will ask about, and networks that no container is on. Nothing that runs is touched, whosever it is.
 */
export async function sweepLeftovers(sweep: Sweep): Promise<string[]> {
  const rows = await engineJson(sweep.engine, z.array(rowSchema), "/containers/json", { all: "1" });
  const removed: string[] = [];
  for (const row of leftovers(rows, sweep)) {
    // Without force, and only if it has not begun since: the engine refuses to remove what runs.
    if (await sweep.calls.discard(row.Id)) removed.push(`container ${nameOf(row)} (${row.State})`);
  }
  return [...removed, ...(await sweepNetworks(sweep, rows))];
}

/** Pure: which of the containers on this host are ours and of no use to anybody. */
export function leftovers(
  rows: readonly Row[],
  { host, known, now }: Pick<Sweep, "host" | "known" | "now">,
): Row[] {
  const ours = rows.filter(({ Labels }) => Labels?.[`${LABEL}.host`] === host);
  return ours.filter((row) => {
    // A blank one says nothing: it was set so that the image's own would not.
    const instance = row.Labels?.[`${LABEL}.instance`] || undefined;
    const run = row.Labels?.[`${LABEL}.run`] || undefined;
    const ageMs = now - row.Created * 1_000;
    if (row.State === "created") {
      const isKnown = instance === undefined ? run === undefined || known.run(run) : known.instance(instance);
      return !isKnown && ageMs > MADE_FOR_MS;
    }
    if (row.State !== "exited" && row.State !== "dead") return false;
    if (ageMs <= ENDED_FOR_MS) return false;
    if (instance !== undefined) return !known.instance(instance);
    // How a hook ended is told from its container while its release may still ask.
    return run !== undefined && !known.run(run) && ours.some((other) => isOfLaterRelease(other, row));
  });
}

function isOfLaterRelease(other: Row, row: Row): boolean {
  const same = (label: string) => other.Labels?.[`${LABEL}.${label}`] === row.Labels?.[`${LABEL}.${label}`];
  return same("app") && same("environment") && !same("release") && other.Created > row.Created;
}

const nameOf = ({ Labels, Id }: Row) =>
  Labels?.[`${LABEL}.instance`] || Labels?.[`${LABEL}.run`] || Id.slice(0, 12);

async function sweepNetworks({ engine, host, now }: Sweep, rows: readonly Row[]): Promise<string[]> {
  const filters = JSON.stringify({ label: [`${LABEL}.host=${host}`] });
  const networks = await engineJson(engine, networksSchema, "/networks", { filters });
  // A container that is stopped wants its network back when it is started.
  const used = new Set(
    rows.flatMap((row) => [row.HostConfig?.NetworkMode, ...Object.keys(row.NetworkSettings?.Networks ?? {})]),
  );
  const removed: string[] = [];
  for (const { Id, Name, Created } of networks) {
    if (used.has(Name) || now - Date.parse(Created) <= MADE_FOR_MS) continue;
    try {
      await engine.bytes("DELETE", `/networks/${Id}`, { signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
      removed.push(`network ${Name}`);
    } catch (thrown) {
      // Somebody joined it, or removed it: both are fine.
      if (!(thrown instanceof EngineError)) throw thrown;
    }
  }
  return removed;
}

const engineJson = <T>(engine: Engine, schema: z.ZodType<T>, path: string, query: Record<string, string>) =>
  engine.json(schema, "GET", path, { query, signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
