import type { ResealAnswer } from "../../protocol/api/secrets.ts";
import { placeOf } from "../notify/keys.ts";
import { type Db, runBatch, type Statement } from "../store/db.ts";
import { rekeyWebhook } from "../store/notify/webhooks.ts";
import { resealRegistry } from "../store/registries.ts";
import { countSealed, listSealedUnder, resealPastSecret, resealSecret } from "../store/secrets.ts";
import { type Keyring, lacksKey, open, type SealedPlace, seal } from "./seal.ts";

/** Of each table at once: opening and sealing costs little, D1's batches are what is bounded. */
const AT_ONCE = 50;

interface SealedRow {
  readonly about: Omit<ResealAnswer["unreadable"][number], "reason">;
  readonly place: SealedPlace;
  readonly row: { readonly sealed: string; readonly keyId: string };
  write(next: { sealed: string; keyId: string }): Statement;
}

/**
 * Seals some of what lies under the key before with the present one. Each row only as it was read, so that a value set
 * meanwhile stays; a value's version stays, too, since it is the same value.
 */
export async function reseal(db: Db, keyring: Keyring): Promise<ResealAnswer> {
  const { current, before } = keyring;
  const unreadable: ResealAnswer["unreadable"] = [];
  const writes: Statement[] = [];
  for (const { about, place, row, write } of before ? await readRows(db, before.id) : []) {
    const opened = await open(keyring, place, row);
    if (opened.ok) writes.push(write(await seal(keyring, place, opened.value)));
    else unreadable.push({ ...about, reason: opened.error });
  }
  await runBatch(db, writes);
  const counts = await countSealed(db);
  for (const keyId of counts.keys()) {
    const reason = lacksKey(keyring, keyId);
    if (reason === null) continue;
    unreadable.push(...(await readRows(db, keyId)).map(({ about }) => ({ ...about, reason })));
  }
  return {
    keyId: current.id,
    beforeKeyId: before?.id ?? null,
    resealed: writes.length,
    left: before ? (counts.get(before.id) ?? 0) : 0,
    unreadable,
  };
}

async function readRows(db: Db, keyId: string): Promise<SealedRow[]> {
  const { secrets, pastSecrets, registries, webhooks } = await listSealedUnder(db, keyId, AT_ONCE);
  return [
    ...secrets.map(
      ({ app, environment, row }): SealedRow => ({
        about: { kind: "secret", app, environment, name: row.name },
        place: { purpose: "secret", owner: row.environmentId, name: row.name },
        row,
        write: (next) => resealSecret(db, row, next),
      }),
    ),
    ...pastSecrets.map(
      ({ app, environment, row }): SealedRow => ({
        about: { kind: "secret", app, environment, name: row.name },
        place: { purpose: "secret", owner: row.environmentId, name: row.name },
        row,
        write: (next) => resealPastSecret(db, row, next),
      }),
    ),
    ...webhooks.map(
      (row): SealedRow => ({
        about: { kind: "webhook", app: row.app, environment: row.environment, name: row.url },
        place: placeOf(row.id),
        row,
        write: (next) => rekeyWebhook(db, row, next),
      }),
    ),
    ...registries.map(
      ({ app, row }): SealedRow => ({
        about: { kind: "registry", app, environment: null, name: row.registry },
        place: { purpose: "registry", owner: row.appId, name: row.registry },
        row,
        write: (next) => resealRegistry(db, row, next),
      }),
    ),
  ];
}
