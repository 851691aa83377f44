import { z } from "zod";
import { CALL_TIMEOUT_MS, type Calls, type Container } from "./calls.ts";
import { containerName, LABEL } from "./container.ts";
import { type Engine, EngineError } from "./engine.ts";

/**
 * What people do to our containers from outside, and may be undone without ending them: a name that was changed, a pause,
 * a network that was taken from it.
 */
const rowsSchema = z.array(z.object({ Id: z.string(), Names: z.array(z.string()) }));

interface Where {
  engine: Engine;
  calls: Calls;
  host: string;
}

/** The same calls, for an instance's container: one that somebody renamed gets its name back before it is looked at. */
export function callsOfInstance({ engine, calls, host }: Where, instance: string): Calls {
  const inspect: Calls["inspect"] = async (name) => {
    const found = await calls.inspect(name);
    if (found || !(await giveNameBack({ engine, calls, host }, instance))) return found;
    return calls.inspect(name);
  };
  return { ...calls, inspect };
}

/** Its labels stay. Answers whether there is a container that has its name again. */
async function giveNameBack({ engine, host }: Where, instance: string): Promise<boolean> {
  const name = containerName(instance);
  const signal = () => AbortSignal.timeout(CALL_TIMEOUT_MS);
  const filters = JSON.stringify({ label: [`${LABEL}.host=${host}`, `${LABEL}.instance=${instance}`] });
  const query = { all: "1", filters };
  const [row] = await engine.json(rowsSchema, "GET", "/containers/json", { query, signal: signal() });
  // Under its own name it is just being removed.
  if (!row || row.Names.includes(`/${name}`)) return false;
  try {
    await engine.bytes("POST", `/containers/${row.Id}/rename`, { query: { name }, signal: signal() });
    return true;
  } catch (thrown) {
    // Removed meanwhile, or the name is somebody else's: then it is not to be had.
    if (thrown instanceof EngineError) return false;
    throw thrown;
  }
}

/** Lets a paused container run on, and one without its network have it again; answers in words what was done. */
export async function mendContainer(where: Where, instance: string): Promise<string | undefined> {
  try {
    const name = containerName(instance);
    const found = await callsOfInstance(where, instance).inspect(name);
    if (found?.State.Status === "paused") {
      await where.calls.unpause(name);
      return "was paused from outside, and runs on";
    }
    const network = found?.State.Status === "running" ? lostNetwork(found) : undefined;
    if (network === undefined) return undefined;
    await where.calls.connect(name, network);
    return "was cut off its network from outside, and is connected again";
  } catch {
    // It only helps: the next failed check comes here again.
    return undefined;
  }
}

/** The network it was made for and is not on: nothing reaches its port. */
function lostNetwork({ HostConfig, NetworkSettings }: Container): string | undefined {
  const { NetworkMode: mode } = HostConfig ?? {};
  if (mode === undefined || ["host", "none"].includes(mode) || mode.startsWith("container:"))
    return undefined;
  const network = mode === "default" ? "bridge" : mode;
  return Object.hasOwn(NetworkSettings.Networks ?? {}, network) ? undefined : network;
}
