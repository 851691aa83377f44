import { forget, type LedgerRow, type ResourceKind, readLedger } from "../store/ledger.ts";
import { deleteApp, deletePolicy, findApp, findPolicy } from "./access.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { deleteRecord, deleteRecords, hostComment, listRecords } from "./dns.ts";
import { type HostRun, MOST_AT_ONCE, unfinished } from "./make-host.ts";
import { unlessGone } from "./refused.ts";
import { deleteRoute, listRoutes } from "./routes.ts";
import { deleteTunnel, dropConnections, findTunnel } from "./tunnels.ts";

/**
 * Takes away what the ledger has of a host, and nothing else. What was about to be made when its run ended is looked for by
 * name. First the records, so that nobody is led there any more; the shields stay until there is nothing behind them.
 */
export async function removeHost(run: HostRun): Promise<void> {
  const rows = await readLedger(run.db, { hostId: run.host.id });
  const of = (kind: ResourceKind) => rows.filter((row) => row.kind === kind);
  await removeRecords(run, of("dns_record"));
  for (const row of of("tunnel")) await removeTunnel(run, row);
  for (const row of of("access_application"))
    await removeAccess(run, row, { find: findApp, remove: deleteApp });
  for (const row of of("access_policy"))
    await removeAccess(run, row, { find: findPolicy, remove: deletePolicy });
  await removeRoutes(run, of("route"));
}

async function removeRecords({ cf, db, host }: HostRun, rows: readonly LedgerRow[]): Promise<void> {
  for (const [zone, own] of Map.groupBy(rows, (row) => row.zoneId ?? cf.settings.slotZoneId)) {
    const found = await listRecords(cf, zone, { comment: hostComment(host.id) });
    const there = found.filter(({ id, name }) =>
      own.some((row) => row.remoteId === id || (row.remoteId === null && row.name === name)),
    );
    if (there.length > 0)
      await deleteRecords(
        cf,
        zone,
        there.map(({ id }) => id),
      );
    // A person may have changed its comment: asked for by its id.
    const hidden = own.flatMap(({ remoteId }) =>
      remoteId && !found.some(({ id }) => id === remoteId) ? [remoteId] : [],
    );
    for (const id of hidden) await unlessGone(deleteRecord(cf, zone, id));
    await forget(db, own);
  }
}

async function removeTunnel({ cf, db }: HostRun, row: LedgerRow): Promise<void> {
  const id = row.remoteId ?? (await findTunnel(cf, row.name));
  if (id !== undefined) {
    await unlessGone(dropConnections(cf, id));
    await unlessGone(deleteTunnel(cf, id));
  }
  await forget(db, [row]);
}

interface Access {
  readonly find: (cf: Cloudflare, name: string) => Promise<string | undefined>;
  readonly remove: (cf: Cloudflare, id: string) => Promise<unknown>;
}

async function removeAccess({ cf, db }: HostRun, row: LedgerRow, { find, remove }: Access): Promise<void> {
  const id = row.remoteId ?? (await find(cf, row.name));
  if (id !== undefined) await unlessGone(remove(cf, id));
  await forget(db, [row]);
}

async function removeRoutes({ cf, db }: HostRun, rows: readonly LedgerRow[]): Promise<void> {
  const unknown = rows.filter(({ remoteId }) => remoteId === null);
  const zones = new Set(unknown.map(({ zoneId }) => zoneId ?? cf.settings.slotZoneId));
  const found = (await Promise.all([...zones].map((zone) => listRoutes(cf, zone)))).flat();
  for (const row of rows.slice(0, MOST_AT_ONCE)) {
    const id = row.remoteId ?? found.find(({ pattern }) => pattern === row.name)?.id;
    if (id) await unlessGone(deleteRoute(cf, row.zoneId ?? cf.settings.slotZoneId, id));
    await forget(db, [row]);
  }
  const left = rows.length - MOST_AT_ONCE;
  if (left > 0) throw unfinished(`${left} Worker routes are left to remove`);
}
