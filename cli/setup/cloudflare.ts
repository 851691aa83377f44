import Cloudflare, { APIConnectionError, APIError } from "cloudflare";
import { CliError, Interrupted } from "../io/problem.ts";
import { type NeedKey, permissionName } from "./permissions.ts";

export type Sdk = Cloudflare;

interface Connection {
  readonly token: string;
  /** wrangler's own variable for another address of the API, so that both always ask the same one. */
  readonly baseUrl: string | undefined;
  readonly signal: AbortSignal;
}

const TIMEOUT_MS = 30_000;

export const connect = ({ token, baseUrl, signal }: Connection): Sdk =>
  new Cloudflare({
    apiToken: token,
    // The SDK would take these from the environment, and send them beside the token.
    apiKey: null,
    apiEmail: null,
    userServiceKey: null,
    baseURL: baseUrl ?? "https://api.cloudflare.com/client/v4",
    timeout: TIMEOUT_MS,
    logLevel: "off",
    fetch: (url, init) =>
      fetch(url, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, signal]) : signal }),
  });

/** Makes one call. What Cloudflare refuses ends the command; `what` completes "Cloudflare refused to …". */
export async function ask<T>(what: string, need: NeedKey, call: () => PromiseLike<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toCliError(error, what, need);
  }
}

/** Null for what isn't there. */
export async function unlessMissing<T>(call: () => PromiseLike<T>): Promise<T | null> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof APIError && error.status === 404) return null;
    throw error;
  }
}

/** Whether the refusal is about who asks, not about what is asked. */
export const isForbidden = (error: unknown): boolean =>
  error instanceof APIError && (error.status === 401 || error.status === 403);

export const saidBy = (error: APIError): string =>
  error.errors.map(({ code, message }) => `${message} (${code})`).join("; ") || `HTTP ${error.status}`;

/** fetch says only that it failed; its cause says why. */
export const causeOf = (error: Error): string =>
  error.cause instanceof Error ? error.cause.message : error.message;

const AGAIN = "Run the same command again: it goes on where it stopped";

function toCliError(error: unknown, what: string, need: NeedKey): unknown {
  if (error instanceof APIConnectionError) {
    // The SDK takes Ctrl-C for a connection that failed.
    if (error.cause instanceof Interrupted) return error.cause;
    const why = error.cause instanceof Error ? causeOf(error.cause) : error.message.replace(/\.$/, "");
    return new CliError("no_contact", `Cloudflare's API can't be reached to ${what}: ${why}. ${AGAIN}.`);
  }
  if (!(error instanceof APIError)) return error;
  if (isForbidden(error)) return forbidden(what, need, saidBy(error));
  const limited = error.status === 429 ? " Its limit is 1,200 calls in 5 minutes." : "";
  return new CliError(
    "cloudflare_refused",
    `Cloudflare refused to ${what}: ${saidBy(error)}.${limited} ${AGAIN}.`,
  );
}

/** A write that was refused although reading was allowed: the one thing the check beforehand can't see. */
export const forbidden = (what: string, need: NeedKey, said: string): CliError =>
  new CliError(
    "cloudflare_refused",
    `Cloudflare refused to ${what}: ${said}. The API token lacks \`${permissionName(need)}\`, or not for this account or zone. Add it to the token. ${AGAIN}.`,
    { title: "a permission is missing" },
  );
