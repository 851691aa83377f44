import { Client } from "../src/client/index.ts";
import { type Config, loadConfig } from "./config.ts";
import type { ExitCode } from "./exit-codes.ts";
import { tokenOfJob } from "./io/ci-token.ts";
import { findManifest, type ManifestFile, noManifest, readManifest } from "./io/manifest-file.ts";
import type { Output, Stdin, Terminal } from "./io/output.ts";
import { quote } from "./io/print.ts";
import { CliError } from "./io/problem.ts";

/** As given on the command line, nothing from elsewhere: these are what a suggested command has to repeat. */
export interface Globals {
  readonly url?: string;
  readonly token?: string;
  readonly file?: string;
  readonly app?: string;
  readonly env?: string;
}

export interface Target {
  readonly app: string;
  readonly environment: string;
  /** When the manifest at hand is this app's. */
  readonly manifest?: ManifestFile | undefined;
}

/** What a command gives back: its exit code, its JSON, and its text for stdout. Nothing else may reach stdout. */
export interface Outcome {
  /** One of the table, or that of a command that was run. */
  readonly exit: ExitCode | number;
  readonly json: object;
  readonly text?: string | undefined;
  /** It carries a secret, shown this once: kept out of SLUICE_OUTPUT_FILE. */
  readonly secret?: boolean;
}

/** A traded token lives for 15 minutes. */
const RENEW_MS = 5 * 60_000;

interface SessionParts {
  readonly globals: Globals;
  readonly out: Output;
  /** Read when it is needed: Node opens a process's stdin then. */
  readonly terminal: Pick<Terminal, "stdin" | "env">;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly version: string;
  readonly now: () => number;
  /** The command line's words, up to what somebody else reads (`--`), and the rest. */
  readonly words?: { readonly own: readonly string[]; readonly rest: readonly string[] };
}

/** One run of the CLI. Configuration is read when first needed, so that help and `explain` need none. */
export class Session {
  readonly globals: Globals;
  readonly out: Output;
  readonly terminal: SessionParts["terminal"];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly version: string;
  readonly #words: NonNullable<SessionParts["words"]>;
  #config: Config | undefined;
  #client: Client | undefined;
  #traded: Promise<string> | undefined;

  constructor(parts: SessionParts) {
    this.globals = parts.globals;
    this.out = parts.out;
    this.env = parts.terminal.env;
    this.terminal = parts.terminal;
    this.cwd = parts.cwd;
    this.signal = parts.signal;
    this.now = parts.now;
    this.version = parts.version;
    this.#words = parts.words ?? { own: [], rest: [] };
  }

  get stdin(): Stdin {
    return this.terminal.stdin;
  }

  get config(): Config {
    this.#config ??= loadConfig({ flags: this.globals, env: this.env, cwd: this.cwd });
    return this.#config;
  }

  /** Throws where no control plane is named: before work that takes long, and would be for nothing. */
  requireControl(): void {
    this.#config = this.config;
  }

  get client(): Client {
    const { url } = this.config;
    const token = this.#credential();
    const userAgent = `sluice-cli/${this.version}`;
    const onSlow = (at: string, slowMs: number) =>
      this.out.say(`no answer from ${at} for ${slowMs / 1_000} s: waiting on, half a minute in all`);
    this.#client ??= new Client({
      url,
      token,
      userAgent,
      headers: traceHeaders(this.env),
      signal: this.signal,
      onSlow,
    });
    return this.#client;
  }

  /** One that Ctrl-C does not end. */
  patientClient(): Client {
    const { url } = this.config;
    return new Client({ url, token: this.#credential(), userAgent: `sluice-cli/${this.version}` });
  }

  /** The token, or what trades this CI job's own for one: once, and prolonged for as long as the command goes on. */
  #credential(): string | (() => Promise<string>) {
    const { url, token, ci } = this.config;
    if (ci === undefined) return token;
    const { userAgent, signal } = { userAgent: `sluice-cli/${this.version}`, signal: this.signal };
    return () =>
      (this.#traded ??= tokenOfJob(ci, { url, ...this.#aim(), userAgent, signal }).then((traded) => {
        const client = new Client({ url, token: traded, userAgent });
        const failed = (error: unknown) =>
          this.out.say(
            `this job's token was not prolonged: ${error instanceof Error ? error.message : error}`,
          );
        setInterval(() => void client.trusts.renew().catch(failed), RENEW_MS).unref();
        return traded;
      }));
  }

  /** What flags and manifest say that a token is wanted for, as far as they do. */
  #aim(): { app?: string | undefined; environment?: string | undefined } {
    const { app, env } = this.globals;
    if (app !== undefined) return { app, environment: env ?? onlyEnvironment(this.#manifestOf(app)) };
    try {
      const found = this.findManifest();
      return { app: found?.manifest.app, environment: found && (env ?? onlyEnvironment(found)) };
    } catch {
      return {}; // A broken manifest is the command's to tell.
    }
  }

  /** The manifest in reach, or undefined. Throws if it is there and wrong. */
  findManifest(): ManifestFile | undefined {
    const file = findManifest(this.globals.file, this.cwd);
    return file === undefined ? undefined : readManifest(file, this.cwd, this.env);
  }

  manifest(): ManifestFile {
    const found = this.findManifest();
    if (!found) throw noManifest([this.again("-f <file>")]);
    return found;
  }

  /** The manifest where it is to name the app, which a flag could as well. */
  #naming(): ManifestFile {
    const found = this.findManifest();
    if (!found) throw noManifest([this.again("-f <file>"), this.again("-a <app>")]);
    return found;
  }

  /** Which app: the flag's, else the manifest's. */
  app(): string {
    return this.globals.app ?? this.#naming().manifest.app;
  }

  /** Which app and environment: as named, else the flags, else the manifest, else `production`. */
  target(named?: string): Target {
    const { env } = this.globals;
    const app = named ?? this.globals.app;
    if (app !== undefined) {
      const manifest = this.#manifestOf(app);
      return { app, environment: env ?? onlyEnvironment(manifest) ?? "production", manifest };
    }
    const manifest = this.#naming();
    const known = Object.keys(manifest.manifest.environments);
    const environment = env ?? onlyEnvironment(manifest) ?? "production";
    if (!known.includes(environment)) throw unknownEnvironment(environment, manifest.path, known);
    return { app: manifest.manifest.app, environment, manifest };
  }

  /** With `-a` another app's manifest, or a broken one that nobody named, is none of this command's business. */
  #manifestOf(app: string): ManifestFile | undefined {
    try {
      const found = this.findManifest();
      return found?.manifest.app === app ? found : undefined;
    } catch (error) {
      if (this.globals.file !== undefined) throw error;
      return undefined;
    }
  }

  /** `sluice <verb> -a … -e …` with the flags that led here; never the token. */
  command(verb: string, target?: { app: string; environment: string }): string {
    const at = target ? ` -a ${quote(target.app)} -e ${quote(target.environment)}` : "";
    return this.carry(`sluice ${verb}${at}`);
  }

  /** This very command with a flag more: without how it was to print, and never with the token. */
  again(flag: string): string {
    const { own, rest } = this.#words;
    const kept = own.filter((word, i) => !/^--(token|json)(=|$)/.test(word) && own[i - 1] !== "--token");
    return ["sluice", ...kept.map(quote), flag, ...rest.map(quote)].join(" ");
  }

  /** Adds to a suggested command what the user gave by flag and the command doesn't carry yet. */
  carry(command: string): string {
    if (!command.startsWith("sluice ")) return command;
    const { url, file, app, env } = this.globals;
    const verb = command.split(" ")[1] ?? "";
    const named = /\s(-a|--app)[\s=]/.test(command);
    const additions = [
      !named && FILE_VERBS.has(verb) && !/\s(-f|--file)[\s=]/.test(command) && file && `-f ${quote(file)}`,
      !named && TARGET_VERBS.has(verb) && app && `-a ${quote(app)}`,
      TARGET_VERBS.has(verb) && !/\s(-e|--env)[\s=]/.test(command) && env && `-e ${quote(env)}`,
      !/\s--url[\s=]/.test(command) && url && `--url ${quote(url)}`,
    ].filter((part): part is string => typeof part === "string" && part !== "");
    return [command, ...additions].join(" ");
  }
}

/** The trace that this command is part of, where a CI system or OpenTelemetry's own tools put it. */
function traceHeaders({ TRACEPARENT, TRACESTATE }: NodeJS.ProcessEnv): Record<string, string> {
  if (!TRACEPARENT || !/^[0-9a-f-]{55,200}$/.test(TRACEPARENT)) return {};
  const isState = TRACESTATE && /^[\x20-\x7e]{1,512}$/.test(TRACESTATE);
  return { traceparent: TRACEPARENT, ...(isState ? { tracestate: TRACESTATE } : {}) };
}

const TARGET_VERBS = new Set([
  "deploy",
  "ship",
  "plan",
  "status",
  "rollback",
  "weight",
  "releases",
  "logs",
  "lock",
  "unlock",
  "maintenance",
  "secrets",
  "registry",
  "hostnames",
  "accessory",
  "runs",
  "run",
  "restart",
  "scale",
]);
const FILE_VERBS = new Set([...TARGET_VERBS, "apply"]);

function onlyEnvironment(manifest: ManifestFile | undefined): string | undefined {
  const names = manifest ? Object.keys(manifest.manifest.environments) : [];
  return names.length === 1 ? names[0] : undefined;
}

const unknownEnvironment = (environment: string, path: string, known: readonly string[]) =>
  new CliError(
    "usage",
    `${path} has no environment \`${environment}\`; it has ${known.map((name) => `\`${name}\``).join(", ")}`,
    {
      title: "unknown environment",
      next: known.map((name) => ({ command: `add -e ${name}`, when: `you mean ${name}` })),
    },
  );
