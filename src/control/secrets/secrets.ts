import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { RegistryView, SecretView } from "../../protocol/api/secrets.ts";
import type { ControlEnv } from "../env.ts";
import { ProblemError } from "../http/problems.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { Refusal } from "../refusal.ts";
import type { Db } from "../store/db.ts";
import type { RegistryRow } from "../store/registries.ts";
import { listSecrets, type SecretFacts } from "../store/secrets.ts";
import { type Keyring, lacksKey, readKeyring } from "./seal.ts";

/** The keyring, or the problem that says what this control plane lacks. */
export async function requireKeyring(env: ControlEnv): Promise<Keyring> {
  const keyring = await readKeyring(env);
  if (keyring.ok) return keyring.value;
  throw new ProblemError(noKey(keyring.error));
}

const noKey = (detail: string): Refusal => ({
  code: "not_configured",
  detail,
  next: [{ command: "sluice setup", when: "you look after this control plane" }],
});

/** An environment's secrets as people see them: those that are set, and those that the manifest waits for. */
export function secretViews(
  spec: EnvironmentSpec,
  rows: readonly SecretFacts[],
  keyring: Keyring | undefined,
): SecretView[] {
  const users = usersOf(spec);
  const names = new Set([...rows.map(({ name }) => name), ...users.keys()]);
  return [...names].sort().map((name) => {
    const row = rows.find((one) => one.name === name);
    return {
      name,
      isSet: row !== undefined,
      version: row?.version ?? null,
      updatedAt: isoOrNull(row?.updatedAt ?? null),
      updatedBy: row?.updatedBy ?? null,
      usedBy: users.get(name) ?? [],
      unreadable: row ? whyUnreadable(row.keyId, keyring) : null,
    };
  });
}

/** Who gets which secret, by the manifest. */
function usersOf(spec: EnvironmentSpec): Map<string, string[]> {
  const users = new Map<string, string[]>();
  const add = (name: string, user: string) => users.set(name, [...(users.get(name) ?? []), user]);
  for (const name of spec.secrets ?? []) add(name, "app");
  for (const [accessory, { secrets }] of Object.entries(spec.accessories ?? {}))
    for (const name of secrets) add(name, `accessory ${accessory}`);
  return users;
}

export const registryView = (row: RegistryRow, keyring: Keyring | undefined): RegistryView => ({
  registry: row.registry,
  username: row.username,
  updatedAt: iso(row.updatedAt),
  updatedBy: row.updatedBy,
  unreadable: whyUnreadable(row.keyId, keyring),
});

const whyUnreadable = (keyId: string, keyring: Keyring | undefined): string | null =>
  keyring ? lacksKey(keyring, keyId) : `it is sealed under the key \`${keyId}\`, and control has no key`;

interface Wanted {
  readonly environmentId: string;
  readonly app: string;
  readonly environment: string;
  readonly names: readonly string[];
  /** Of a preview: whose values it may have, too, and the environment that they are set at. */
  readonly shared?: { readonly owner: string; readonly at: string };
}

/** These secrets of an environment's; of a preview, with whose values it may have. */
export function wantedBy(
  { id, spec }: { readonly id: string; readonly spec: EnvironmentSpec },
  names: readonly string[],
): Wanted {
  const { app, environment, preview } = spec;
  const shared = preview && { shared: { owner: preview.secretsOf, at: preview.of } };
  return { environmentId: id, app, environment, names, ...shared };
}

/** What keeps these secrets from being handed out, before anything moves; undefined: nothing does. */
export async function secretsLack(db: Db, env: ControlEnv, wanted: Wanted): Promise<Refusal | undefined> {
  const { names } = wanted;
  if (names.length === 0) return undefined;
  const keyring = await readKeyring(env);
  if (!keyring.ok) return noKey(keyring.error);
  const { shared } = wanted;
  const rows = await listSecrets(db, [wanted.environmentId, ...(shared ? [shared.owner] : [])]);
  const missing = names.filter((name) => !rows.some((row) => row.name === name));
  if (missing.length > 0) {
    const has = missing.length === 1 ? "has no value" : "have no value";
    const detail = `${missing.join(", ")} ${has} in ${wanted.app}/${wanted.environment}, and the manifest names ${missing.length === 1 ? "it" : "them"}`;
    return { code: "secrets_missing", detail, next: setCommands(wanted, missing) };
  }
  const locked = rows.flatMap(({ name, keyId }) => {
    const why = names.includes(name) ? lacksKey(keyring.value, keyId) : null;
    return why === null ? [] : [{ name, why }];
  });
  const [first] = locked;
  if (!first) return undefined;
  const detail = `${locked.map(({ name }) => name).join(", ")} can't be opened: ${first.why}`;
  return {
    code: "not_configured",
    detail,
    next: setCommands(
      wanted,
      locked.map(({ name }) => name),
    ),
  };
}

const setCommands = ({ app, environment, shared }: Wanted, names: readonly string[]) =>
  names.map((name) => ({
    command: shared ? `${setCommand(name, app, shared.at)} --previews` : setCommand(name, app, environment),
    when: `to give ${name} a value; it is asked for, or read from stdin`,
  }));

export const setCommand = (name: string, app: string, environment: string): string =>
  `sluice secrets set ${name} -a ${app} -e ${environment}`;
