import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { REGION_NAMES } from "../../src/protocol/region.ts";
import { CliError } from "../io/problem.ts";

/** `~/.config/sluice/<name>/`: what this machine keeps of an installation. Private, since two of the files are keys. */
export interface Home {
  readonly folder: string;
  /** The command line's own file, beside the installations'. */
  readonly cliFile: string;
}

type Env = Readonly<Record<string, string | undefined>>;

export function homeOf(env: Env, name: string): Home {
  const config = env.XDG_CONFIG_HOME || (env.HOME ? join(env.HOME, ".config") : undefined);
  if (!config)
    throw new CliError(
      "usage",
      "neither HOME nor XDG_CONFIG_HOME is set, so there is no place for the configuration",
    );
  return { folder: join(config, "sluice", name), cliFile: join(config, "sluice", "cli.json") };
}

/** Nobody else may read it, and a crash leaves the old file or the new one. */
export function writePrivate(folder: string, file: string, text: string): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const path = join(folder, file);
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  chmodSync(`${path}.new`, 0o600);
  renameSync(`${path}.new`, path);
  return path;
}

function readPrivate(folder: string, file: string): string | undefined {
  const path = join(folder, file);
  return existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
}

const KEY = "secrets-key";
const NEXT_KEY = "secrets-key.next";

export const keptSecretsKey = ({ folder }: Home): string | undefined => readPrivate(folder, KEY);
export const keepSecretsKey = ({ folder }: Home, key: string): string =>
  writePrivate(folder, KEY, `${key}\n`);

/** The key of a rotation is kept before control has it, and takes the old one's place once control has it: neither is ever lost. */
export const keepNextSecretsKey = ({ folder }: Home, key: string): string =>
  writePrivate(folder, NEXT_KEY, `${key}\n`);

export function promoteSecretsKey({ folder }: Home): void {
  if (existsSync(join(folder, NEXT_KEY))) renameSync(join(folder, NEXT_KEY), join(folder, KEY));
}

const recordSchema = z.object({
  account: z.object({ id: z.string(), name: z.string() }),
  zone: z.object({ id: z.string(), name: z.string() }),
  slotZone: z.object({ id: z.string(), name: z.string() }),
  controlHostname: z.string(),
  access: z.boolean(),
  images: z.boolean().default(false),
  region: z.enum(REGION_NAMES).nullable().default(null),
  /** Of what setup made, so that a teardown knows it again when control is gone. */
  ids: z.object({ database: z.string().optional(), namespace: z.string().optional() }),
});
/** So that the next run, an upgrade or a teardown needs no flags. */
export type Kept = z.infer<typeof recordSchema>;

const RECORD = "installation.json";

export function keptInstallation({ folder }: Home): Kept | undefined {
  const text = readPrivate(folder, RECORD);
  if (text === undefined) return undefined;
  const parsed = recordSchema.safeParse(tryJson(text));
  if (parsed.success) return parsed.data;
  throw new CliError("no_config", `${join(folder, RECORD)} is not usable: ${z.prettifyError(parsed.error)}`);
}

export const keepInstallation = ({ folder }: Home, kept: Kept): void =>
  void writePrivate(folder, RECORD, `${JSON.stringify(recordSchema.parse(kept), null, 2)}\n`);

export function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema then says what is wrong with it.
  }
}

/** The address in the command line's own file, if there is one. */
export function savedUrl({ cliFile }: Home): string | undefined {
  if (!existsSync(cliFile)) return undefined;
  const parsed = z.object({ url: z.string() }).safeParse(tryJson(readFileSync(cliFile, "utf8")));
  return parsed.success ? parsed.data.url : "another installation";
}

/** The admin token: the one given, else the installation's own, as setup kept it. */
export function keptLogin({ folder }: Home, given: string | undefined): string | undefined {
  if (given) return given;
  const parsed = z.object({ token: z.string() }).safeParse(tryJson(readPrivate(folder, "cli.json") ?? ""));
  return parsed.success ? parsed.data.token : undefined;
}

/** After a teardown: the command line's own file goes only if it was this installation's, and with the data stay its key and its record. */
export function forget(home: Home, { data }: { readonly data: boolean }): void {
  const own = z.object({ url: z.string() }).safeParse(tryJson(readPrivate(home.folder, "cli.json") ?? ""));
  if (own.success && savedUrl(home) === own.data.url) rmSync(home.cliFile, { force: true });
  const stays = data ? [] : [KEY, RECORD].map((file) => [file, readPrivate(home.folder, file)] as const);
  rmSync(home.folder, { recursive: true, force: true });
  for (const [file, text] of stays) if (text !== undefined) writePrivate(home.folder, file, `${text}\n`);
}
