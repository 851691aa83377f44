import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import { basename, dirname, join, parse } from "node:path";
import { z } from "zod";
import { addressProblem } from "../src/protocol/address.ts";
import { type CiSource, ciSource } from "./io/ci-token.ts";
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
  /** Instead of a token: the job of a CI system, which control may trust. */
  readonly ci?: CiSource;
  readonly edge?: string | undefined;
}

interface Sources {
  readonly flags: { readonly url?: string | undefined; readonly token?: string | undefined };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/**
 * Address and token: flag, else environment variable (or, with an address, a CI job's own token), else `.sluice/cli.json` upwards from the working directory, else
 * `~/.config/sluice/cli.json`. Throws CliError `no_config`. A file's token is only ever sent to that file's address, and a
 * token that was given only to an address that was given: a file that came with a checkout gets neither.
 */
export function loadConfig(sources: Sources): Config {
  const config = findConfig(sources);
  const problem = addressProblem(config.url);
  if (problem) throw new CliError("no_config", problem);
  return config;
}

function findConfig({ flags, env, cwd }: Sources): Config {
  const url = flags.url ?? env.SLUICE_URL;
  const token = flags.token ?? env.SLUICE_TOKEN;
  if (url && token) return { url: checkUrl(url), token, ...edgeOf(url, configFile(env, cwd)) };
  const ci = ciSource(env);
  if (url && !token && ci) return { url: checkUrl(url), token: "", ci, ...edgeOf(url, configFile(env, cwd)) };
  const file = configFile(env, cwd);
  const found = file ? readConfig(file) : undefined;
  if (token && file && found) throw tokenAlone(file, found, flags.token ? "--token" : "SLUICE_TOKEN");
  if (!url && found) return found;
  if (url && found && sameOrigin(url, found.url)) return { ...found, url };
  throw url ? noToken(url, file?.path) : noAddress();
}

/** Where the edge of that control plane listens, if a file knows. A broken or doubtful file is nobody's business here. */
function edgeOf(url: string, file: ConfigFile | undefined): { edge?: string | undefined } {
  if (!file || doubt(file)) return {};
  const parsed = configSchema.safeParse(tryJson(file.path));
  return parsed.success && sameOrigin(url, parsed.data.url) ? { edge: parsed.data.edge } : {};
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

interface ConfigFile {
  readonly path: string;
  /** In or above the working directory, where others may have put it. */
  readonly isNear: boolean;
}

function configFile(env: Sources["env"], cwd: string): ConfigFile | undefined {
  const near = findUp(join(".sluice", "cli.json"), cwd);
  if (near) return { path: near, isNear: true };
  const home = env.XDG_CONFIG_HOME || (env.HOME ? join(env.HOME, ".config") : undefined);
  const own = home ? join(home, "sluice", "cli.json") : undefined;
  return own && existsSync(own) ? { path: own, isNear: false } : undefined;
}

/** Why a near file is not gone by: it may be a checkout's, and lead to somebody else's control plane. */
function doubt({ path, isNear }: ConfigFile): string | undefined {
  if (!isNear) return undefined;
  const found = lstatSync(path);
  if (!found.isFile()) return "is no plain file";
  if (process.getuid && found.uid !== process.getuid()) return `belongs to user ${found.uid}, not to you`;
  const mode = found.mode & 0o777;
  if (process.platform !== "win32" && (mode & 0o177) !== 0)
    return `can be read by others than you (mode ${mode.toString(8)}, not 600)`;
  return isTracked(path) ? "came with the repository: it is in its index" : undefined;
}

/** With a umask of 077 a clone makes private files, too. Without git there is no clone. */
function isTracked(path: string): boolean {
  const { status } = spawnSync(
    "git",
    // A repository's own settings could name a program to be run here.
    ["-c", "core.fsmonitor=false", "-C", dirname(path), "ls-files", "--error-unmatch", "--", basename(path)],
    { stdio: "ignore", timeout: 2_000 },
  );
  return status === 0;
}

/** The nearest file of that name in `from` or a folder above it. */
export function findUp(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const file = join(folder, name);
    if (existsSync(file)) return file;
    if (folder === parse(folder).root) return undefined;
  }
}

function readConfig(file: ConfigFile): Config {
  const why = doubt(file);
  if (why) throw notYours(file.path, why);
  const parsed = configSchema.safeParse(readJson(file.path));
  if (parsed.success) return parsed.data;
  throw new CliError("no_config", `${file.path} is not usable: ${z.prettifyError(parsed.error)}`);
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

const notYours = (path: string, why: string) =>
  new CliError("no_config", `${path} ${why}, so it is not gone by: it names a control plane`, {
    title: "whose control plane?",
    next: [
      { command: `chmod 600 ${path}`, when: "you made it" },
      { command: `rm ${path}`, when: "it came with what you checked out" },
      { command: "export SLUICE_URL=https://<control plane> SLUICE_TOKEN=slu_…", when: "neither" },
    ],
  });

const tokenAlone = ({ path }: ConfigFile, { url }: Config, name: string) =>
  new CliError("no_config", `${name} is set, and no address with it: it is not sent to the one in ${path}`, {
    title: "a token without an address",
    next: [
      { command: `export SLUICE_URL=${url}`, when: "it belongs there" },
      { command: "unset SLUICE_TOKEN", when: `you mean the login in ${path}` },
    ],
  });

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
