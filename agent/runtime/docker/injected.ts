import { z } from "zod";
import type { Injected } from "../runtime.ts";
import { CALL_TIMEOUT_MS } from "./calls.ts";
import { LABEL } from "./container.ts";
import { type Engine, EngineError } from "./engine.ts";

const rowsSchema = z.array(z.object({ Id: z.string(), Labels: z.record(z.string(), z.string()) }));
const madeSchema = z.object({ Config: z.object({ Env: z.array(z.string()).nullish() }) });

/** The variables of this host's containers, as the engine keeps them. */
export async function listInjected(engine: Engine, host: string): Promise<Injected[]> {
  const filters = JSON.stringify({ label: [`${LABEL}.host=${host}`, `${LABEL}.app`] });
  const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
  const rows = await engine.json(rowsSchema, "GET", "/containers/json", {
    query: { all: "1", filters },
    signal,
  });
  const found = rows.map(async ({ Id, Labels }) => ({
    app: Labels[`${LABEL}.app`] ?? "",
    environment: Labels[`${LABEL}.environment`] ?? "",
    env: await envOfContainer(engine, Id, signal),
  }));
  return Promise.all(found);
}

async function envOfContainer(engine: Engine, id: string, signal: AbortSignal) {
  try {
    const { Config } = await engine.json(madeSchema, "GET", `/containers/${id}/json`, { signal });
    return Object.fromEntries((Config.Env ?? []).map(pairOf));
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return {}; // gone meanwhile
    throw thrown;
  }
}

function pairOf(text: string): [string, string] {
  const equals = text.indexOf("=");
  return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
}
