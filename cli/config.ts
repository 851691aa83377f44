import { existsSync, readFileSync } from "node:fs";
import { dirname, join, parse } from "node:path";
import { z } from "zod";
import { CliError } from "./io/problem.ts";

const configSchema = z.object({
  url: z.url(),
  token: z.string().min(1),
  /** Where the edge listens, when that isn't `https://<hostname>`: the local set-up's `http://127.0.0.1:<port>`. */
  edge: z.url().optional(),
});

export interface Config {
  readonly url: string;
  readonly token: string;
  readonly edge?: string | undefined;
}

interface Sources {
  readonly flags: { readonly url?: string | undefined; readonly token?: string | undefined };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/**
 * Address and token: flag, else environment variable, else `.sluice/cli.json` upwards from the working directory, else
 * `~/.config/sluice/cli.json`. Throws CliError `no_config`. A file's token is only ever sent to that file's address.
 */
export function loadConfig({ flags, env, cwd }: Sources): Config {
  const url = flags.url ?? env.SLUICE_URL;
  const token = flags.token ?? env.SLUICE_TOKEN;
  if (url && token) return { url: checkUrl(url), token, ...edgeOf(url, configFile(env, cwd)) };
  const file = configFile(env, cwd);
  const found = file ? readConfig(file) : undefined;
  if (!url && found) return { ...found, token: token ?? found.token };
  if (url && found && sameOrigin(url, found.url)) return { ...found, url };
  throw url ? noToken(url, file) : noAddress();
}

/** Where the edge of that control plane listens, if a file knows. A broken file is nobody's business here. */
function edgeOf(url: string, file: string | undefined): { edge?: string | undefined } {
  const parsed = file ? configSchema.safeParse(tryJson(file)) : undefined;
  return parsed?.success && sameOrigin(url, parsed.data.url) ? { edge: parsed.data.edge } : {};
}

function tryJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined; // Address and token were given: the file is not needed.
  }
}

const sameOrigin = (a: string, b: string) => new URL(checkUrl(a)).origin === new URL(b).origin;

function checkUrl(url: string): string {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  throw new CliError("no_config", `the address \`${url}\` is not an http(s) URL`);
}

function configFile(env: Sources["env"], cwd: string): string | undefined {
  const near = findUp(join(".sluice", "cli.json"), cwd);
  if (near) return near;
  const home = env.XDG_CONFIG_HOME || (env.HOME ? join(env.HOME, ".config") : undefined);
  const own = home ? join(home, "sluice", "cli.json") : undefined;
  return own && existsSync(own) ? own : undefined;
}

/** The nearest file of that name in `from` or a folder above it. */
export function findUp(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const file = join(folder, name);
    if (existsSync(file)) return file;
    if (folder === parse(folder).root) return undefined;
  }
}

function readConfig(file: string): Config {
  const parsed = configSchema.safeParse(readJson(file));
  if (parsed.success) return parsed.data;
  throw new CliError("no_config", `${file} is not usable: ${z.prettifyError(parsed.error)}`);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new CliError(
      "no_config",
      `${file} can't be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

const noAddress = () =>
  new CliError(
    "no_config",
    "no control plane is set: neither --url, nor SLUICE_URL, nor .sluice/cli.json here or above",
    {
      title: "where is the control plane?",
      next: [
        { command: "export SLUICE_URL=https://<control plane> SLUICE_TOKEN=slu_…", when: "you have one" },
        { command: "npm start", when: "you want a local one; it writes .sluice/cli.json" },
      ],
    },
  );

const noToken = (url: string, file: string | undefined) =>
  new CliError(
    "no_config",
    `no token for ${url}: set SLUICE_TOKEN${file ? ` (the one in ${file} is for another address)` : ""}`,
    {
      title: "no token",
      next: [
        { command: "export SLUICE_TOKEN=slu_…", when: "you have one" },
        { command: "sluice token create ci --role deployer", when: "an admin makes you one" },
      ],
    },
  );
