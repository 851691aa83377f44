/** Which versions of an environment's secrets are out there, against those that are set. */

export interface SecretHolder {
  /** An instance that serves or will; one that is only kept for a rollback; an accessory. */
  readonly kind: "instance" | "kept" | "accessory";
  readonly id: string;
  /** Version of each secret that it was started with. Null: none was handed to it. */
  readonly versions: Readonly<Record<string, number>> | null;
}

interface CurrentSecret {
  readonly name: string;
  readonly version: number;
  readonly updatedAt: number;
}

export interface StaleSecret {
  readonly name: string;
  /** When the new value was set; null: the secret was removed. */
  readonly setAt: number | null;
  readonly instances: readonly string[];
  readonly kept: readonly string[];
  readonly accessories: readonly string[];
}

/** Secrets of which somebody still runs another version than the one that is set, by name. */
export function staleSecrets(
  current: readonly CurrentSecret[],
  holders: readonly SecretHolder[],
): StaleSecret[] {
  const names = new Set(holders.flatMap(({ versions }) => Object.keys(versions ?? {})));
  return [...names].sort().flatMap((name) => {
    const set = current.find((secret) => secret.name === name);
    const old = holders.filter(
      ({ versions }) => versions && Object.hasOwn(versions, name) && versions[name] !== set?.version,
    );
    if (old.length === 0) return [];
    const of = (kind: SecretHolder["kind"]) =>
      old.filter((holder) => holder.kind === kind).map(({ id }) => id);
    return [
      {
        name,
        setAt: set?.updatedAt ?? null,
        instances: of("instance"),
        kept: of("kept"),
        accessories: of("accessory"),
      },
    ];
  });
}
