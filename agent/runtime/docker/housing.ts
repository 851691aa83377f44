import { z } from "zod";
import { failed, type Outcome } from "../../outcome.ts";
import { CALL_TIMEOUT_MS } from "./calls.ts";
import { type Housing, isDirectory, LABEL } from "./container.ts";
import { type Engine, EngineError } from "./engine.ts";

const networkSchema = z.object({
  Driver: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
});
const volumeSchema = z.object({ Name: z.string() });

export interface Tenant extends Housing {
  app: string;
  environment: string;
}

/**
 * What must be there before a container of this spec is made: its volumes and its network, made where they are missing.
 * Both outlive every container. Answers only what can't be had; engine trouble is thrown like that of any call.
 */
export async function prepareHousing(
  engine: Engine,
  spec: Tenant,
  host: string,
): Promise<Outcome<never> | undefined> {
  const labels = {
    [`${LABEL}.host`]: host,
    [`${LABEL}.app`]: spec.app,
    [`${LABEL}.environment`]: spec.environment,
  };
  for (const { source } of spec.volumes) if (!isDirectory(source)) await ensureVolume(engine, source, labels);
  return spec.network === undefined ? undefined : ensureNetwork(engine, spec.network, labels);
}

type Labels = Record<string, string>;
const plain = () => ({ signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });

/** Asked first, because making one that is there fails when it has another driver: a person's choice, which is kept. */
async function ensureVolume(engine: Engine, name: string, labels: Labels): Promise<void> {
  try {
    await engine.json(volumeSchema, "GET", `/volumes/${encodeURIComponent(name)}`, plain());
  } catch (thrown) {
    if (!(thrown instanceof EngineError && thrown.status === 404)) throw thrown;
    await engine.bytes("POST", "/volumes/create", { json: { Name: name, Labels: labels }, ...plain() });
  }
}

const making = new Map<string, Promise<Outcome<never> | undefined>>();

/** One at a time for each name: an engine of this API version may make two networks of one name for two that ask at once. */
function ensureNetwork(engine: Engine, name: string, labels: Labels): Promise<Outcome<never> | undefined> {
  const key = `${engine.address} ${name}`;
  const made = making.get(key) ?? makeNetwork(engine, name, labels).finally(() => making.delete(key));
  making.set(key, made);
  return made;
}

async function makeNetwork(engine: Engine, name: string, labels: Labels) {
  const existing = await findNetwork(engine, name);
  if (existing) return isOurs(existing) ? undefined : foreign(name);
  try {
    await engine.bytes("POST", "/networks/create", {
      json: { Name: name, Driver: "bridge", CheckDuplicate: true, Labels: labels },
      ...plain(),
    });
  } catch (thrown) {
    const said = thrown instanceof EngineError ? thrown.message : "";
    if (/address pool|subnet/i.test(said)) {
      return failed(
        "start_failed",
        `the Docker engine has no address range left for network ${name} (${said}): remove networks nobody uses (docker network prune), or give it more default-address-pools`,
      );
    }
    // Another agent on this engine was faster.
    if (!(thrown instanceof EngineError && thrown.status === 409)) throw thrown;
  }
  return undefined;
}

async function findNetwork(engine: Engine, name: string) {
  try {
    return await engine.json(networkSchema, "GET", `/networks/${encodeURIComponent(name)}`, plain());
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return undefined;
    throw thrown;
  }
}

const isOurs = ({ Driver, Labels }: z.infer<typeof networkSchema>) =>
  Driver === "bridge" && Labels?.[`${LABEL}.host`] !== undefined;

const foreign = (name: string) =>
  failed(
    "start_failed",
    `network ${name} exists on this host, but no Sluice agent made it: what else is on it must not meet the app. Rename or remove it (docker network rm ${name})`,
  );
