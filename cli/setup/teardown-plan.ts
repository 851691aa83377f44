import { clean } from "../io/print.ts";
import type { Sdk } from "./cloudflare.ts";
import {
  bucketName,
  controlWorker,
  databaseName,
  edgeWorker,
  type Installation,
  namespaceTitle,
  serviceTokenName,
} from "./installation.ts";
import type { NeedKey } from "./permissions.ts";
import type { Remains } from "./remains.ts";

/** What teardown removes and what it keeps, in the order of the work. */
export interface Removal {
  readonly need: NeedKey;
  readonly words: string;
  readonly run: () => PromiseLike<unknown>;
}

const removal = (need: NeedKey, words: string, run: Removal["run"]): Removal => ({ need, words, run });

/** Routes before the edge, so that a hostname follows its DNS record at once; the edge before control, to which it is bound. */
export function planTeardown(
  sdk: Sdk,
  { account, name }: Installation,
  remains: Remains,
  { deleteData }: { readonly deleteData?: boolean },
): Removal[] {
  const at = { account_id: account.id };
  const { namespace, serviceToken, database } = remains;
  const worker = (script: string) =>
    // Its Durable Objects go with it, which Cloudflare refuses without `force`; who else uses it was looked at before.
    removal("workers", `Worker ${script}`, () => sdk.workers.scripts.delete(script, { ...at, force: true }));
  return [
    ...remains.routes.map(({ id, zone, pattern }) =>
      removal("routes", `route ${pattern}`, () => sdk.workers.routes.delete(id, { zone_id: zone })),
    ),
    ...remains.records.map(({ id, zone, name: record }) =>
      removal("dns", `DNS record ${record}`, () => sdk.dns.records.delete(id, { zone_id: zone })),
    ),
    ...(remains.edge ? [worker(edgeWorker(name))] : []),
    ...remains.domains.map(({ id, hostname }) =>
      removal("workers", `custom domain ${hostname}`, () => sdk.workers.domains.delete(id, at)),
    ),
    ...(remains.control ? [worker(controlWorker(name))] : []),
    ...when(namespace, (id) =>
      removal("kv", `KV namespace ${namespaceTitle(name)}`, () => sdk.kv.namespaces.delete(id, at)),
    ),
    ...when(serviceToken, (id) =>
      removal("accessTokens", `Access service token ${serviceTokenName(name)}`, () =>
        sdk.zeroTrust.access.serviceTokens.delete(id, at),
      ),
    ),
    ...when(deleteData ? database : null, (id) =>
      removal("d1", `D1 database ${databaseName(name)} with all of Sluice's data`, () =>
        sdk.d1.database.delete(id, at),
      ),
    ),
  ];
}

const when = (id: string | null, make: (id: string) => Removal): Removal[] => (id === null ? [] : [make(id)]);

export function keptLines(
  { name }: Installation,
  { bucket, database, foreign, ofHosts }: Remains,
  { deleteData }: { readonly deleteData?: boolean },
): string[] {
  const data = `keep    D1 database ${databaseName(name)}: releases, hosts, sealed secrets; --delete-data removes it, --export <file> first makes a copy`;
  return [
    ...(database !== null && !deleteData ? [data] : []),
    ...(bucket
      ? [
          `keep    R2 bucket ${bucketName(name)}: images; empty it in Cloudflare's dashboard, and remove it there`,
        ]
      : []),
    ...foreign.map((what) => `keep    ${what}: nothing shows that this installation made it`),
    ...ofHosts.map((what) => `keep    ${clean(what)}: of a host that was not removed`),
  ];
}
