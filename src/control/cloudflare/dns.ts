import type { FoundRecord } from "../../domain/tunnel.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { ask, Refused } from "./refused.ts";

/** DNS records. A comment says whose they are: it is how those are found whose creation was never answered. */
const EDIT = "Zone › DNS › Edit";
/** More than control ever makes under one comment or name, so that one page is all. */
const PAGE = 500;

/** Cloudflare takes 100 characters. */
export const hostComment = (hostId: string): string => `sluice host ${hostId}`;
const hostnameComment = (worker: string): string => `sluice: the Worker ${worker} answers here`;

export async function listRecords(
  { sdk }: Cloudflare,
  zone: string,
  by: { readonly comment: string } | { readonly name: string } | { readonly below: string },
): Promise<FoundRecord[]> {
  const query = queryOf(by);
  const page = await ask(`list the DNS records of zone ${zone}`, EDIT, async () =>
    sdk.dns.records.list({ zone_id: zone, ...query, per_page: PAGE }),
  );
  return page.result.map(({ id, name, type, content = "", proxied = false }) => ({
    id,
    name: name.toLowerCase(),
    type,
    content,
    proxied,
  }));
}

function queryOf(by: Parameters<typeof listRecords>[2]) {
  if ("comment" in by) return { comment: { exact: by.comment } };
  return "below" in by ? { name: { endswith: `.${by.below}` } } : { name: { exact: by.name } };
}

export interface RecordChanges {
  /** A proxied CNAME is made or mended under each name. */
  readonly target: string;
  readonly comment: string;
  readonly make: readonly string[];
  readonly mend: readonly { readonly id: string; readonly name: string }[];
}

/** All of it or nothing. Answers id and name of what was made. */
export async function changeRecords(
  cf: Cloudflare,
  zone: string,
  { target, comment, make, mend }: RecordChanges,
) {
  const record = (name: string) =>
    ({ type: "CNAME", name, content: target, proxied: true, ttl: 1, comment }) as const;
  const changed = await ask(`make ${make.length + mend.length} DNS records`, EDIT, async () =>
    cf.sdk.dns.records.batch({
      zone_id: zone,
      ...(mend.length > 0 && { patches: mend.map(({ id, name }) => ({ id, ...record(name) })) }),
      ...(make.length > 0 && { posts: make.map(record) }),
    }),
  ).catch((error) => explainQuota(cf, zone, make.length, error));
  return (changed.posts ?? []).map(({ id, name }) => ({ id, name: name.toLowerCase() }));
}

/** A name that only Workers answer: proxied, and with no origin behind it (the discard prefix of RFC 6666). */
export async function createOriginless(cf: Cloudflare, zone: string, name: string): Promise<string> {
  const comment = hostnameComment(cf.settings.worker);
  const { id } = await ask(`make the DNS record ${name}`, EDIT, async () =>
    cf.sdk.dns.records.create({
      zone_id: zone,
      type: "AAAA",
      name,
      content: "100::",
      proxied: true,
      ttl: 1,
      comment,
    }),
  ).catch((error) => explainQuota(cf, zone, 1, error));
  return id;
}

export const deleteRecord = ({ sdk }: Cloudflare, zone: string, id: string) =>
  ask(`delete the DNS record ${id}`, EDIT, async () => sdk.dns.records.delete(id, { zone_id: zone }));

export const deleteRecords = ({ sdk }: Cloudflare, zone: string, ids: readonly string[]) =>
  ask(`delete ${ids.length} DNS records`, EDIT, async () =>
    sdk.dns.records.batch({ zone_id: zone, deletes: ids.map((id) => ({ id })) }),
  );

/** Cloudflare says only that the quota is reached; a person needs to know how far over it this would go. */
async function explainQuota(cf: Cloudflare, zone: string, more: number, error: unknown): Promise<never> {
  if (!(error instanceof Refused) || error.kind !== "quota") throw error;
  const page = await ask("count the DNS records", EDIT, async () =>
    cf.sdk.dns.records.list({ zone_id: zone, per_page: 1 }),
  );
  // Lists of records carry the count, which the SDK's type does not name.
  const info = page.result_info as { total_count?: number };
  const words = `${error.message}: it has ${info.total_count ?? "too many"} and needs ${more} more, one for each slot or hostname (200 are allowed on Free zones made since September 2024, 1,000 on older ones, 3,500 on paid plans): enrol hosts with fewer slots, remove records, or take a larger plan`;
  throw new Refused("quota", words, { retryAfterMs: error.retryAfterMs ?? 0, cause: error });
}
