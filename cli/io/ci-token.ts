import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { Client } from "../../src/client/index.ts";
import { addressProblem } from "../../src/protocol/address.ts";
import { CliError } from "./problem.ts";

/** Where a CI job's own token comes from: asked for (GitHub, Forgejo), or given (GitLab, Buildkite, CircleCI). */
export type CiSource =
  | { readonly kind: "asked"; readonly url: string; readonly bearer: string }
  | { readonly kind: "given"; readonly token: string };

/** What this CI job could prove itself with, if anything. */
export function ciSource(env: Readonly<Record<string, string | undefined>>): CiSource | undefined {
  const {
    SLUICE_OIDC_TOKEN: given,
    ACTIONS_ID_TOKEN_REQUEST_URL: url,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer,
  } = env;
  if (given) return { kind: "given", token: given.trim() };
  return url && bearer ? { kind: "asked", url, bearer } : undefined;
}

export interface CiWanted {
  /** Control's address. */
  readonly url: string;
  readonly app?: string | undefined;
  readonly environment?: string | undefined;
  readonly userAgent: string;
  readonly signal: AbortSignal;
}

const ASK_WITHIN_MS = 10_000;
const keptSchema = z.object({ token: z.string() });

/** A token of control's for this job. Throws CliError, ApiError or ConnectionError. */
export async function tokenOfJob(source: CiSource, wanted: CiWanted): Promise<string> {
  const kept = source.kind === "given" ? keptFor(source.token, wanted) : undefined;
  const before = kept && readKept(kept);
  if (before !== undefined) return before;
  const token = source.kind === "given" ? source.token : await ask(source, wanted);
  const { url, userAgent, signal, app, environment } = wanted;
  const client = new Client({ url, token: "", userAgent, signal });
  const place = {
    ...(app === undefined ? {} : { app }),
    ...(environment === undefined ? {} : { environment }),
  };
  const traded = await client.trusts.exchange({ token, ...place });
  if (kept) keep(kept, traded.token);
  return traded.token;
}

/** Asks the runner for a token that is made for this control plane alone. */
async function ask({ url, bearer }: { url: string; bearer: string }, wanted: CiWanted): Promise<string> {
  const at = URL.parse(url);
  const problem = addressProblem(url);
  if (!at || problem) throw noToken(`ACTIONS_ID_TOKEN_REQUEST_URL: ${problem ?? "no address"}`);
  at.searchParams.set("audience", new URL(wanted.url).origin);
  try {
    const signal = AbortSignal.any([wanted.signal, AbortSignal.timeout(ASK_WITHIN_MS)]);
    const response = await fetch(at, {
      headers: { authorization: `Bearer ${bearer}` },
      signal,
      redirect: "error",
    });
    const answer = z.object({ value: z.string().min(1) }).safeParse(await response.json());
    if (response.ok && answer.success) return answer.data.value;
    throw noToken(`the runner answered ${response.status} to a request for this job's token`);
  } catch (error) {
    if (error instanceof CliError || wanted.signal.aborted) throw error;
    throw noToken(
      `the runner gave no token for this job: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

const noToken = (detail: string) =>
  new CliError("no_config", detail, {
    title: "no token of the CI system",
    next: [{ command: "export SLUICE_TOKEN=slu_…", when: "you have one" }],
  });

/** Where a given token's trade is kept: it counts once, and a job has more than one command. Undefined: nowhere is private. */
function keptFor(token: string, { url, app, environment }: CiWanted): string | undefined {
  const folder = join(tmpdir(), `sluice-ci-${process.getuid?.() ?? "me"}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    const isOwn = found.isDirectory() && (!process.getuid || found.uid === process.getuid());
    if (!isOwn || (process.platform !== "win32" && (found.mode & 0o077) !== 0)) return undefined;
  } catch {
    return undefined; // Nowhere to write: the first command of the job works, and the next says why it doesn't.
  }
  const parts = JSON.stringify([new URL(url).origin, token, app, environment]);
  return join(folder, `${createHash("sha256").update(parts).digest("hex")}.json`);
}

function readKept(file: string): string | undefined {
  try {
    // Whether its time is over is control's to say: a runner's clock may be wrong, and what it was traded for is spent.
    return keptSchema.parse(JSON.parse(readFileSync(file, "utf8"))).token;
  } catch {
    return undefined; // None was kept, or nothing that could be used.
  }
}

function keep(file: string, token: string): void {
  try {
    writeFileSync(file, JSON.stringify({ token }), { mode: 0o600 });
  } catch {
    // This command has its token; the next one says why it has none.
  }
}
