import type { z } from "zod";
import { HOST_OFFLINE_MS } from "../../domain/host-online.ts";
import { JOB_KINDS } from "../../protocol/agent/jobs.ts";
import type { PollAnswer, pollSchema } from "../../protocol/agent/poll.ts";
import type { ControlEnv } from "../env.ts";
import { heedAccessories } from "../store/accessories.ts";
import type { Db } from "../store/db.ts";
import type { HeartbeatAnswer } from "../store/hosts.ts";
import { type Inventory, reconcile } from "../store/reports.ts";
import { findEnvironmentsOn } from "../store/upkeep/due.ts";
import { leaseForPoll } from "./lease-jobs.ts";
import { takeOver } from "./rotate.ts";

const BUSY_MS = 1_000;
const IDLE_MS = 60_000;
const IDLE_UNCONNECTED_MS = 30_000;

type Poll = z.output<typeof pollSchema>;
type Host = HeartbeatAnswer & { readonly tokenHash: string };

/** What the agent says it answers for; absent while it has not been able to look. */
export const inventoryOf = ({ seq, instances }: Poll): Inventory | undefined =>
  seq === undefined ? undefined : { seq, instances };

/** Answers a poll whose heartbeat was written. `touched`: environments whose coordinators have something to look at. */
export async function answerPoll(
  at: { db: Db; env: ControlEnv },
  host: Host,
  { sent, now }: { sent: Poll; now: number },
): Promise<{ answer: PollAnswer; touched: string[] }> {
  const { id: hostId, replaces, seenBeforeAt } = host;
  if (replaces !== null) await takeOver(at.db, { ...host, hostId, replaces }, now);
  const changed = host.differing > 0 ? await putRight(at.db, hostId, { sent, now }) : [];
  const listed = sent.facts?.accessories;
  if (listed && host.accessories > 0) await heedAccessories(at.db, { hostId, listed, now });
  const request = { hostId, boot: sent.boot, now, takes: takenBy(sent), jobs: sent.jobs, seenBeforeAt };
  const leased =
    host.due > 0 ? await leaseForPoll(at, request) : { jobs: [], secrets: {}, requests: {}, touched: [] };
  const { jobs, secrets, requests, touched } = leased;
  const idleMs = sent.connected === false ? IDLE_UNCONNECTED_MS : IDLE_MS;
  const answer = {
    jobs,
    secrets,
    ...(Object.keys(requests).length > 0 && { requests }),
    now,
    pollAfterMs: host.open > 0 ? BUSY_MS : idleMs,
    ...(host.tunnelRev !== null && { tunnelRev: host.tunnelRev }),
    ...(replaces === null && host.rotate === 1 && { rotate: true }),
  };
  const missed = isBack(host, now) ? await findEnvironmentsOn(at.db, [hostId]) : [];
  return { answer, touched: [...new Set([...changed, ...touched, ...missed])] };
}

/** It was silent for so long that its instances counted as gone. */
const isBack = ({ seenBeforeAt }: Host, now: number): boolean =>
  seenBeforeAt !== null && now - seenBeforeAt >= HOST_OFFLINE_MS;

async function putRight(db: Db, hostId: string, { sent, now }: { sent: Poll; now: number }) {
  const inventory = inventoryOf(sent);
  if (!inventory) return [];
  return reconcile(db, { hostId, boot: sent.boot, now, clockSkewMs: sent.clock - now }, inventory);
}

function takenBy({ takes, wantsJobs }: Poll): (typeof JOB_KINDS)[number][] {
  if (takes) return [...takes, "logs"];
  // One that does not say is of before there were commands.
  return wantsJobs ? JOB_KINDS.filter((kind) => kind !== "command") : ["logs"];
}
