import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { interceptionOf } from "../../src/protocol/interception.ts";
import { clean } from "../io/print.ts";

interface SmokeCheck {
  readonly path: string;
  readonly status: number;
  readonly contains?: string | undefined;
}

/** What a look from outside came to. `blind`: from here nobody can tell, which says nothing of the release. */
export type Look =
  | { readonly kind: "good" }
  | { readonly kind: "bad" | "blind"; readonly index: number; readonly detail: string };

const TIMEOUT_MS = 10_000;
const BODY_MOST = 1_000_000;
/** A table is in force everywhere within three seconds; a place that is a little late is no failed release. */
const AGAIN_MS = 500;
const PATIENCE_MS = 10_000;

/** Asks below the public address (`url`, without a slash at its end) what the manifest's `smoke` asks for, as a visitor would. The first that is not as wanted. */
export async function smokeFromOutside(
  url: string,
  checks: readonly SmokeCheck[],
  {
    release,
    signal,
    patienceMs = PATIENCE_MS,
  }: { release: ReleaseView; signal: AbortSignal; patienceMs?: number },
): Promise<Look> {
  const until = performance.now() + patienceMs;
  for (const [index, check] of checks.entries())
    for (;;) {
      const look = await ask(new URL(url + check.path), check, { index, version: release.version, signal });
      if (look.kind === "good") break;
      if (performance.now() >= until) return look;
      await sleep(AGAIN_MS, undefined, { signal });
    }
  return { kind: "good" };
}

async function ask(
  url: URL,
  check: SmokeCheck,
  { index, version, signal }: { index: number; version: string; signal: AbortSignal },
): Promise<Look> {
  const what = `GET ${url.href}`;
  try {
    const { status, headers, body } = await get(url, signal);
    const by = headers.get("x-sluice-release");
    const stopped = interceptionOf({ status, headers, body });
    if (stopped) return { kind: "blind", index, detail: `${what} was ${stopped.words}` };
    if (by !== null && by !== version)
      return { kind: "bad", index, detail: `${what} was answered by ${clean(by)}, not by ${clean(version)}` };
    if (status !== check.status)
      return { kind: "bad", index, detail: `${what} answered ${status}, wanted ${check.status}` };
    if (check.contains === undefined || body.includes(check.contains)) return { kind: "good" };
    const said = clean(body.slice(0, 200));
    return {
      kind: "bad",
      index,
      detail: `${what} answered ${JSON.stringify(said)}, wanted ${JSON.stringify(check.contains)} in it`,
    };
  } catch (error) {
    if (signal.aborted) throw error;
    const { code, name, message } = error as NodeJS.ErrnoException;
    const isName = code === "ENOTFOUND" || code === "EAI_AGAIN";
    return {
      kind: isName ? "blind" : "bad",
      index,
      detail: `${what}: ${isName ? "this machine can't find that name" : /Abort|Timeout/.test(name) ? `no answer within ${TIMEOUT_MS / 1_000} s` : message}`,
    };
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** Without following redirects. By hand, since `*.localhost`, the local set-up's names, is known to no resolver. */
function get(url: URL, signal: AbortSignal): Promise<Answer> {
  const isLocal = url.hostname.endsWith(".localhost");
  const send = url.protocol === "http:" ? plainRequest : secureRequest;
  return new Promise((resolve, reject) => {
    const request = send(
      {
        ...(isLocal ? { hostname: "127.0.0.1" } : { hostname: url.hostname }),
        port: url.port,
        path: url.pathname + url.search,
        // It says who answered, so that the release before is not taken for this one.
        headers: {
          host: url.host,
          "x-sluice-trace": "1",
          "user-agent": "sluice-ship",
          "cache-control": "no-cache",
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        const done = () => {
          const headers = new Headers();
          for (const [name, value] of Object.entries(response.headers)) headers.set(name, String(value));
          resolve({ status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks).toString() });
        };
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size < BODY_MOST) return;
          done();
          response.destroy();
        });
        response.on("end", done);
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end();
  });
}
