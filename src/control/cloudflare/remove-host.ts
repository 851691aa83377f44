import { forget, type LedgerRow, readLedger } from "../store/cloudflare-resources.ts";
import { deleteApp, deletePolicy, findApp, findPolicy } from "./access.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { deleteRecord, deleteRecords, hostComment, listRecords } from "./dns.ts";
import { type HostRun, MOST_AT_ONCE, unfinished } from "./make-host.ts";
import { unlessGone } from "./refused.ts";
import { deleteRoute, listRoutes } from "./routes.ts";
import { deleteTunnel, dropConnections, findTunnel } from "./tunnels.ts";

/** After the records: what nobody is led to any more goes before what shields it. */
const ORDER = ["tunnel", "access_application", "access_policy", "route"] as const;

/**
 * Takes away what the ledger has of a host, and nothing else. What was about to be made when its run ended is looked for by
 * name.
 */
export async function removeHost(run: HostRun): Promise<void> {
  const rows = await readLedger(run.db, { hostId: run.host.id });
  const hidden = await removeRecords(
    run,
    rows.filter(({ kind }) => kind === "dns_record"),
  );
  const rest = ORDER.flatMap((kind) => rows.filter((row) => row.kind === kind));
  const ordered = [...hidden, ...rest];
  for (const row of ordered.slice(0, MOST_AT_ONCE)) {
    await remove(run.cf, row);
    await forget(run.db, [row]);
  }
  const left = ordered.length - MOST_AT_ONCE;
  if (left > 0) throw unfinished(`${left} of what was made for ${run.host.name} is left to remove`);
}

/** In one batch, because there is one for each slot. Answers those that a person gave another comment: to be removed by their id. */
async function removeRecords(
  { cf, db, host }: HostRun,
  rows: readonly LedgerRow[],
): Promise<readonly LedgerRow[]> {
  const hidden: LedgerRow[] = [];
  for (const [zone, own] of Map.groupBy(rows, (row) => row.zoneId ?? cf.settings.slotZoneId)) {
    const found = await listRecords(cf, zone, { comment: hostComment(host.id) });
    const there = found.filter(({ id, name }) =>
      own.some((row) => row.remoteId === id || (row.remoteId === null && row.name === name)),
    );
    const ids = there.map(({ id }) => id);
    if (ids.length > 0) await deleteRecords(cf, zone, ids);
    const unseen = own.filter(
      ({ remoteId }) => remoteId !== null && !found.some(({ id }) => id === remoteId),
    );
    hidden.push(...unseen);
    await forget(
      db,
      own.filter((row) => !unseen.includes(row)),
    );
  }
  return hidden;
}

async function remove(cf: Cloudflare, row: LedgerRow): Promise<void> {
  const id = row.remoteId ?? (await find(cf, row));
  if (id === undefined) return;
  if (row.kind === "tunnel") {
    await unlessGone(dropConnections(cf, id));
    await unlessGone(deleteTunnel(cf, id));
  } else if (row.kind === "dns_record") await unlessGone(deleteRecord(cf, zoneOf(cf, row), id));
  else if (row.kind === "access_application") await unlessGone(deleteApp(cf, id));
  else if (row.kind === "access_policy") await unlessGone(deletePolicy(cf, id));
  else await unlessGone(deleteRoute(cf, zoneOf(cf, row), id));
}

async function find(cf: Cloudflare, row: LedgerRow): Promise<string | undefined> {
  if (row.kind === "tunnel") return findTunnel(cf, row.name);
  if (row.kind === "access_application") return findApp(cf, row.name);
  if (row.kind === "access_policy") return findPolicy(cf, row.name);
  return (await listRoutes(cf, zoneOf(cf, row))).find(({ pattern }) => pattern === row.name)?.id;
}

const zoneOf = (cf: Cloudflare, row: LedgerRow): string => row.zoneId ?? cf.settings.slotZoneId;
