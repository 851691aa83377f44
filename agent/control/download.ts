import http from "node:http";
import https from "node:https";
import { buffer } from "node:stream/consumers";
import { type Clock, outagePause } from "../clock.ts";
import { words } from "../outcome.ts";
import { USER_AGENT } from "../version.ts";
import { interceptionIn, stoppedText } from "./intercepted.ts";

/** Something of control's that is too large for one answer, or for memory. */
export interface Download {
  readonly url: string;
  readonly token: () => string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Something before control answers in its place, until somebody changes a setting: asking on would only hide why. */
class Stopped extends Error {
  override readonly name = "Stopped";
}

/** Control has no such thing for this host. */
export class NotThere extends Error {
  override readonly name = "NotThere";
}

/** A connection that sends nothing for so long is dead. */
const SILENT_MS = 20_000;
const WORDS_MOST = 8_192;

/** A small thing, whole. Throws when it is not to be had before the signal aborts. */
export async function downloadSmall(at: Download, path: string, mostBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of download(at, path, { start: 0, end: mostBytes })) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > mostBytes) throw new Error(`${path} has more than ${mostBytes} bytes`);
  }
  return Buffer.concat(chunks);
}

/**
 * Bytes from `start` to before `end`, or to where the thing ends. A connection that breaks, and a control that is away, only make
 * it slower: it goes on where it was, until the signal aborts. Throws {@link NotThere} when control says no, and at once, too, when
 * Cloudflare's security answers in its place.
 */
export async function* download(
  at: Download,
  path: string,
  { start, end }: { start: number; end: number },
): AsyncGenerator<Buffer> {
  let [next, tries] = [start, 0];
  while (next < end) {
    at.signal.throwIfAborted();
    try {
      const response = await request(at, path, next);
      for await (const chunk of response) {
        const wanted = (chunk as Buffer).subarray(0, end - next);
        tries = 0;
        next += wanted.length;
        yield wanted;
        if (next >= end) return;
      }
      if (response.complete) return;
    } catch (thrown) {
      if (thrown instanceof NotThere || thrown instanceof Stopped || at.signal.aborted) throw thrown;
    }
    await at.clock.sleep(outagePause(tries++), at.signal);
  }
}

async function request(
  { url, token, signal }: Download,
  path: string,
  from: number,
): Promise<http.IncomingMessage> {
  const target = new URL(path, url);
  const { get } = target.protocol === "https:" ? https : http;
  const headers = {
    authorization: `Bearer ${token()}`,
    "user-agent": USER_AGENT,
    // Nothing in between is to compress what is compressed, and then call it whole.
    "accept-encoding": "identity",
    ...(from > 0 && { range: `bytes=${from}-` }),
  };
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const sent = get(target, { headers, signal, agent: false, timeout: SILENT_MS }, resolve);
    sent.on("timeout", () => sent.destroy(new Error(`nothing came for ${SILENT_MS / 1_000} s`)));
    sent.on("error", reject);
  });
  const { statusCode: status = 0 } = response;
  if (status === 200 && from === 0) return response;
  if (status === 206) return response;
  const { headers: answered } = response;
  const text = await beginningOf(response);
  const stopped = interceptionIn({ status, headers: answered, text });
  if (stopped && stopped.by !== "limit") throw new Stopped(`${target.host} ${stoppedText(status, stopped)}`);
  const said = detailIn(text);
  // A token that has just been changed, too many at once, and what a gateway says: all pass.
  if (status >= 400 && status < 500 && status !== 401 && status !== 429)
    throw new NotThere(`control answered ${status}: ${said}`);
  throw new Error(`control answered ${status}: ${said}`);
}

async function beginningOf(response: http.IncomingMessage): Promise<string> {
  try {
    return (await buffer(response)).toString("utf8", 0, WORDS_MOST);
  } catch (thrown) {
    return words(thrown);
  }
}

/** A problem's own words, or as much of what else was said as tells what it was. */
function detailIn(text: string): string {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
  } catch {
    // A gateway's page.
  }
  return text.slice(0, 200);
}
