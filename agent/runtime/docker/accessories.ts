import type { AccessorySpec } from "../../../src/protocol/agent/accessory.ts";
import type { JobResult } from "../../../src/protocol/agent/job-results.ts";
import { systemClock } from "../../clock.ts";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import { type Accessories, type AccessoryOrder, isPlainId, type ListedAccessory } from "../runtime.ts";
import {
  type AccessoryCalls,
  accessoryCalls,
  accessoryConfig,
  accessoryName,
  asideName,
  differsFrom,
  endContainer,
  type Found,
  isUp,
  labelOf,
  staysUp,
  troubleOf,
} from "./accessory.ts";
import { type Calls, tail } from "./calls.ts";
import type { Engine } from "./engine.ts";
import { knownFailure } from "./failure.ts";
import { putFiles } from "./files.ts";
import { createDockerHealth } from "./health.ts";
import { prepareHousing } from "./housing.ts";

const UP_FOR_MS = 2_000;
/** A new version that gives up on the data it finds does so in its first seconds. */
const UPGRADED_FOR_MS = 5_000;
/** Left for putting back what was there, beside its grace. */
const PUT_BACK_MS = 30_000;

/**
 * Accessories as containers that the engine itself keeps up. Each call may find the half-done work of an agent that died:
 * it first sees to it that one container, and the right one, has the accessory's name.
 */
export function createDockerAccessories(parts: { engine: Engine; calls: Calls; host: string }): Accessories {
  const { engine } = parts;
  const work = new Work({
    ...parts,
    own: accessoryCalls(engine),
    health: createDockerHealth(engine),
  });
  const guarded =
    (act: (order: AccessoryOrder) => Promise<Outcome<JobResult>>) => async (order: AccessoryOrder) => {
      if (!isPlainId(order.spec.accessory))
        return failed("start_failed", `${order.spec.accessory} can't be a container's name`);
      try {
        return (await work.tidy(order)) ?? (await act(order));
      } catch (thrown) {
        const known = await knownFailure(engine, order.spec, thrown);
        return known ?? failed("start_failed", `the Docker engine refused: ${words(thrown)}`);
      }
    };
  return {
    start: guarded((order) => work.start(order)),
    stop: guarded((order) => work.stop(order)),
    upgrade: guarded((order) => work.upgrade(order)),
    remove: guarded((order) => work.remove(order)),
    lackOf: (accessory, signal) => work.lackOf(accessory, signal),
    list: () => work.list(),
  };
}

interface WorkParts {
  readonly engine: Engine;
  readonly host: string;
  readonly calls: Calls;
  readonly own: AccessoryCalls;
  readonly health: ReturnType<typeof createDockerHealth>;
}

class Work {
  readonly #parts: WorkParts;

  constructor(parts: WorkParts) {
    this.#parts = parts;
  }

  /** Ends an upgrade that was cut short, unless it is this very job that goes on with it. */
  async tidy({ spec, job }: AccessoryOrder): Promise<Outcome<never> | undefined> {
    const { own, host } = this.#parts;
    const found = await own.find(accessoryName(spec.accessory));
    if (found && labelOf(found, "host") !== host) return foreign(spec);
    const aside = await own.find(asideName(spec.accessory));
    if (!aside || (found && labelOf(found, "job") === job)) return undefined;
    // Whichever was running is what its data belongs to by now.
    if (isUp(found)) await own.remove(aside.Id);
    else await this.#putBack(spec);
    return undefined;
  }

  async lackOf(accessory: string, signal: AbortSignal): Promise<string | undefined> {
    const name = accessoryName(accessory);
    try {
      const found = await this.#parts.own.find(name);
      if (!found) return "was not started here";
      if (!isUp(found)) return "does not run";
      const { state, output } = await this.#parts.health(name, signal);
      return state === "none" || state === "healthy" ? undefined : `is not healthy: ${output.slice(0, 200)}`;
    } catch (thrown) {
      return `can't be asked for: ${words(thrown)}`;
    }
  }

  async list(): Promise<ListedAccessory[]> {
    const { own, host, health } = this.#parts;
    const ids = await own.list(host);
    return Promise.all(
      ids.map(async (accessory) => {
        const lack = await troubleOf(own, health, accessoryName(accessory));
        return lack === undefined ? { accessory } : { accessory, lack: lack.slice(0, 500) };
      }),
    );
  }

  async start(order: AccessoryOrder): Promise<Outcome<JobResult>> {
    const { spec } = order;
    const { own, calls } = this.#parts;
    const name = accessoryName(spec.accessory);
    const found = await own.find(name);
    if (!found || (labelOf(found, "job") === order.job && !isUp(found))) return this.#startNew(order);
    if (!isUp(found)) {
      order.progress(`starting ${spec.name} as it was`);
      await calls.start(name);
    }
    const trouble = await this.#watch(order, UP_FOR_MS);
    if (trouble) return this.#failure(order, trouble, name);
    const differs = differsFrom(found, spec);
    return done({
      runtimeId: found.Id,
      image: found.Config.Image,
      ...(differs.length > 0 && { differs: differsWords(spec, differs) }),
    });
  }

  async #startNew(order: AccessoryOrder): Promise<Outcome<JobResult>> {
    const { spec, progress } = order;
    const { own } = this.#parts;
    const name = accessoryName(spec.accessory);
    const pulled = await order.pull();
    if (!pulled.ok) return pulled;
    progress(`starting ${spec.name}`);
    await own.remove(name);
    const refused = await this.#run(order, pulled.value.image);
    if (refused) return refused;
    const trouble = await this.#watch(order, UP_FOR_MS);
    if (!trouble) return this.#running(name);
    if (order.signal.aborted && order.isLeaving()) return left();
    const failure = await this.#failure(order, trouble, name);
    // One that never ran would restart for ever. What it may have written stays in its volumes.
    await this.#discard(spec);
    return failure;
  }

  async stop({ spec, progress }: AccessoryOrder): Promise<Outcome<JobResult>> {
    const { own, calls } = this.#parts;
    const name = accessoryName(spec.accessory);
    const found = await own.find(name);
    if (!found) return done({});
    progress(`stopping ${spec.name}, grace ${spec.stopGraceMs / 1000} s`);
    const killed = await endContainer(calls, name, spec.stopGraceMs);
    return done({ runtimeId: found.Id, killed });
  }

  async remove(order: AccessoryOrder): Promise<Outcome<JobResult>> {
    const stopped = await this.stop(order);
    if (stopped.ok) await this.#parts.own.remove(accessoryName(order.spec.accessory));
    return stopped;
  }

  /** Pull, stop, set aside, start, watch; and back again where the new one does not stay up. */
  async upgrade(order: AccessoryOrder): Promise<Outcome<JobResult>> {
    const { spec, job, progress } = order;
    const { own, calls } = this.#parts;
    const [name, aside] = [accessoryName(spec.accessory), asideName(spec.accessory)];
    const found = await own.find(name);
    const isHalfDone = found !== undefined && labelOf(found, "job") === job;
    if (!found) return this.#startNew(order);
    if (!isHalfDone) {
      const pulled = await order.pull();
      if (!pulled.ok) return this.#kept(pulled, spec);
      // Whatever this host can't give is found out before anything is stopped.
      const refused = await prepareHousing(this.#parts.engine, spec, this.#parts.host);
      if (refused) return this.#kept(refused, spec);
      progress(`stopping ${spec.name}, grace ${spec.stopGraceMs / 1000} s`);
      await calls.stop(name, spec.stopGraceMs);
      await own.rename(name, aside);
      progress(`starting ${spec.name} with ${spec.image}`);
      try {
        const refused = await this.#run(order, pulled.value.image, found);
        if (refused && !refused.ok) return this.#rollBack(order, refused.error.message);
      } catch (thrown) {
        return this.#rollBack(order, `could not be started (${words(thrown)})`);
      }
    }
    const within = order.deadlineAt - systemClock.now() - spec.stopGraceMs - PUT_BACK_MS;
    const signal = AbortSignal.any([order.signal, AbortSignal.timeout(Math.max(0, within))]);
    const trouble = await this.#watch({ ...order, signal }, UPGRADED_FOR_MS);
    if (order.isLeaving()) return left();
    if (trouble) return this.#rollBack(order, trouble);
    await own.remove(aside);
    return this.#running(name);
  }

  async #rollBack(order: AccessoryOrder, trouble: string): Promise<Outcome<JobResult>> {
    const { spec, progress } = order;
    const { own, calls } = this.#parts;
    const name = accessoryName(spec.accessory);
    const failure = await this.#failure(order, trouble, name);
    if (!(await own.find(asideName(spec.accessory)))) return failure;
    progress(`${spec.image} ${trouble}: putting back what ran before`);
    await this.#putBack(spec);
    await calls.start(name);
    const signal = AbortSignal.any([order.signal, AbortSignal.timeout(PUT_BACK_MS)]);
    const still = await this.#watch({ ...order, signal }, UP_FOR_MS);
    // What only takes its time is told by the host's facts.
    if (still === undefined || signal.aborted) return this.#kept(failure, spec);
    return this.#spoilt(failure, still, name);
  }

  /** Gives its name back to the container that was set aside. */
  async #putBack(spec: AccessorySpec): Promise<void> {
    await this.#discard(spec);
    await this.#parts.own.rename(asideName(spec.accessory), accessoryName(spec.accessory));
  }

  async #discard(spec: AccessorySpec): Promise<void> {
    const { own, calls } = this.#parts;
    const name = accessoryName(spec.accessory);
    if (!(await own.find(name))) return;
    await calls.stop(name, spec.stopGraceMs);
    await own.remove(name);
  }

  /** Makes the container and begins it. Answers what this host can't give; engine trouble is thrown. */
  async #run(order: AccessoryOrder, image: string, before?: Found): Promise<Outcome<never> | undefined> {
    const { engine, host, calls } = this.#parts;
    const { spec, job } = order;
    const refused = await prepareHousing(engine, spec, host);
    if (refused) return refused;
    const name = accessoryName(spec.accessory);
    await calls.create(name, accessoryConfig({ spec, image, host, job, before }));
    await putFiles(engine, name, spec);
    await calls.start(name);
    return undefined;
  }

  #watch(order: AccessoryOrder, forMs: number): Promise<string | undefined> {
    const { own, health } = this.#parts;
    const { spec, signal, progress } = order;
    return staysUp(own, health, { name: accessoryName(spec.accessory), forMs, signal, progress });
  }

  async #running(name: string): Promise<Outcome<JobResult>> {
    const found = await this.#parts.own.find(name);
    if (!found) return failed("start_failed", `container ${name} was removed from outside`);
    return done({ runtimeId: found.Id, image: found.Config.Image });
  }

  async #failure(
    { spec }: AccessoryOrder,
    trouble: string,
    name: string,
  ): Promise<ReturnType<typeof failed>> {
    const logs = await tail(this.#parts.engine, name, 50);
    const last = logs.at(-1);
    return failed("exited", `${spec.image} ${trouble}${last ? `; its last line: ${last}` : ""}`, { logs });
  }

  /** Says of a failure that what was there before does not run any more. */
  async #spoilt(failure: Outcome<never>, still: string, name: string): Promise<Outcome<never>> {
    const found = await this.#parts.own.find(name);
    if (failure.ok || !found) return failure;
    const { message, ...error } = failure.error;
    const before = `What ran before was put back, with ${imageOf(found)}, and it ${still}`;
    return failed(error.code, `${message}. ${before}: look at its data before it is started again`, error);
  }

  /** Says of a failure whether what was there before runs all the same. */
  async #kept(failure: Outcome<never>, spec: AccessorySpec): Promise<Outcome<never>> {
    const found = await this.#parts.own.find(accessoryName(spec.accessory));
    if (failure.ok || !found || !isUp(found)) return failure;
    const { message, ...error } = failure.error;
    const before = `${message}. ${spec.name} runs as before, with ${imageOf(found)}`;
    return failed(error.code, before, { ...error, kept: true });
  }
}

function imageOf(found: Found): string {
  const { Image } = found.Config;
  return Image.startsWith("sha256:") ? Image.slice(0, 19) : Image;
}

const left = () => failed("internal", "the agent stopped meanwhile");

function differsWords({ name }: AccessorySpec, differs: readonly string[]): string {
  const words = differs.join(", ").slice(0, 350);
  return `${name} runs as it was made, and differs from what was asked for (${words}): \`sluice accessory upgrade ${name}\` replaces it`;
}

const foreign = ({ accessory }: AccessorySpec) =>
  failed(
    "start_failed",
    `container ${accessoryName(accessory)} exists on this host, but this agent did not make it: rename it, or remove it if nobody needs it (its volumes stay)`,
  );
