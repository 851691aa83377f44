import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import packageFile from "../../package.json" with { type: "json" };
import { CliError } from "../io/problem.ts";
import { forbidden } from "./cloudflare.ts";
import type { NeedKey } from "./permissions.ts";

/** Runs one command of wrangler on a configuration. Throws CliError when it fails. */
export type Wrangler = (command: WranglerCommand) => Promise<void>;

export interface WranglerCommand {
  readonly args: readonly string[];
  /** Completes "wrangler could not …". */
  readonly what: string;
  /** The permission that it most needs. */
  readonly need: NeedKey;
}

interface WranglerParts {
  /** Holds the configurations; wrangler keeps its own things there, too. */
  readonly folder: string;
  readonly token: string;
  readonly account: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** An upload of 2 MB over a slow line, with wrangler's own retries. */
const DEADLINE_MS = 300_000;

/** The checkout's wrangler, else npm's of the same version, with the token by environment: others on the machine can see arguments. */
export function wranglerIn(parts: WranglerParts): Wrangler {
  const program = wranglerBeside() ?? wranglerFromNpm();
  return async (command) => {
    mkdirSync(parts.folder, { recursive: true, mode: 0o700 });
    const { code, output } = await run(program, command, parts);
    parts.signal.throwIfAborted();
    if (code !== 0) throw failed(command, output);
  };
}

type Program = readonly [string, ...string[]];

function wranglerBeside(): Program | undefined {
  try {
    const found = createRequire(import.meta.url).resolve("wrangler/package.json");
    return [process.execPath, join(dirname(found), "bin", "wrangler.js")];
  } catch {
    return undefined;
  }
}

/** wrangler brings 150 MB, which a package that mostly deploys apps doesn't: npm fetches it once, for setup and teardown. */
const wranglerFromNpm = (): Program => {
  const { wrangler } = packageFile.devDependencies;
  return ["npm", "exec", "--yes", `--package=wrangler@${wrangler}`, "--", "wrangler"];
};

function run([file, ...first]: Program, { args }: WranglerCommand, parts: WranglerParts) {
  const { folder, token, account, signal } = parts;
  const { CLOUDFLARE_API_KEY: _key, CLOUDFLARE_EMAIL: _email, ...env } = parts.env;
  const child = spawn(file, [...first, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    env: {
      ...env,
      CLOUDFLARE_API_TOKEN: token,
      CLOUDFLARE_ACCOUNT_ID: account,
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_SEND_ERROR_REPORTS: "false",
      WRANGLER_HIDE_BANNER: "true",
      NO_COLOR: "1",
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => {
      output = `${output}${chunk}`.slice(-20_000);
    });
  return new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on("error", (error) => resolve({ code: null, output: `${output}\n${error.message}` }));
    child.on("close", (code) => resolve({ code, output }));
  });
}

/** Cloudflare's codes for a token that may not, as wrangler prints them. */
const FORBIDDEN = /^.*\[code: (?:10000|9109|10023)\].*$/m;

const NOISE = /If you think this is a bug|Logs were written to/;

/** What a code means to who sets up, where wrangler's own words don't say what to do. */
const MEANINGS: Readonly<Record<string, string>> = {
  "10072":
    "The account has as many Cron Triggers as its plan allows (5 on Free, 250 on Paid), and control needs one, each minute: remove one of another Worker's (Workers & Pages, its Settings, Trigger Events), or take the Paid plan.",
  "10063":
    "The account has no workers.dev subdomain, which schedules need: open Workers & Pages once in the dashboard.",
};

/** What wrangler's output says of why it failed, as the command's problem. */
export function failed({ what, need }: WranglerCommand, output: string): CliError {
  const text = stripVTControlCharacters(output);
  const refused = FORBIDDEN.exec(text)?.[0].trim();
  if (refused !== undefined) return forbidden(what, need, refused);
  const meaning = MEANINGS[/\[code: (\d+)\]/.exec(text)?.[1] ?? ""];
  const lines = text
    .slice(Math.max(0, text.lastIndexOf("✘ [ERROR]")))
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line.trim() !== "" && !NOISE.test(line));
  return new CliError(
    "cloudflare_refused",
    `wrangler could not ${what}; its last lines:\n${lines.slice(-8).join("\n")}${meaning ? `\n${meaning}` : ""}\nRun the same command again: it goes on where it stopped.`,
    { title: "wrangler failed" },
  );
}
