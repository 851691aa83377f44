import { workerOf } from "../../domain/processes/process.ts";
import { workerSpec } from "../../domain/processes/worker-start.ts";
import { err, type Result } from "../../domain/result.ts";
import { startSpec } from "../../domain/rollout/instances.ts";
import type { ClaimAnswer } from "../../protocol/agent/claim.ts";
import { jobSchema } from "../../protocol/agent/jobs.ts";
import type { ControlEnv } from "../env.ts";
import type { Refusal } from "../refusal.ts";
import type { Db } from "../store/db.ts";
import { readClaimed } from "../store/instances.ts";
import { handOut } from "./hand-out.ts";

/**
 * Opens what an agent needs to make the container of an instance again that was removed from its host: variables, secrets
 * with their values of today, the registry's login. Only for the host that the instance is on, and while it is to run there.
 */
export async function claimInstance(
  at: { db: Db; env: ControlEnv },
  of: { hostId: string; instance: string; now: number },
): Promise<Result<ClaimAnswer, Refusal>> {
  const found = await readClaimed(at.db, of);
  if (!found) {
    const detail = `no instance ${of.instance} is meant to run on this host`;
    return err({ code: "not_found", detail });
  }
  const { release, instance, fence, environmentId } = found;
  const job = jobSchema.parse({
    kind: "start",
    id: `start-${instance.id}`,
    lease: "",
    environmentId,
    fence,
    deadlineAt: of.now,
    leaseExpiresAt: of.now,
    spec: { ...specOf(release, instance), fence },
  });
  const secrets = release.spec.secrets ?? [];
  const [handed] = await handOut(at.db, at.env, [
    { job, instanceId: instance.id, releaseId: release.id, secrets, anew: true },
  ]);
  if (handed === undefined || !handed.ok)
    return err({ code: "secrets_missing", detail: handed?.error.message ?? "it can't be opened" });
  if (handed.value.kind !== "start") throw new Error("a start was handed out as another job");
  const { spec, login } = handed.value;
  return {
    ok: true,
    value: { environmentId, env: spec.env, secretNames: [...secrets], ...(login && { login }) },
  };
}

type Claimed = NonNullable<Awaited<ReturnType<typeof readClaimed>>>;

function specOf(release: Claimed["release"], { id, process, slot, hostPort }: Claimed["instance"]) {
  const worker = process === null ? undefined : workerOf(release.spec, process);
  if (process !== null && worker) return workerSpec(release, { id, process, worker });
  if (slot === null || hostPort === null) throw new Error(`instance ${id} has neither a slot nor a process`);
  return startSpec(release, { id, slot, hostPort });
}
