import http from "node:http";
import https from "node:https";
import type { z } from "zod";
import { type Problem, type ProblemCode, problemSchema } from "../../src/protocol/problem.ts";
import { words } from "../outcome.ts";
import { USER_AGENT } from "../version.ts";
import { interceptionIn, type Received, stoppedText } from "./intercepted.ts";

/** An answer of control: what was asked for, a refusal with its code, or no usable answer at all. */
export type Answer<T> =
  | { ok: true; value: T }
  | { ok: false; kind: "refused"; status: number; code: ProblemCode | undefined; detail: string }
  | { ok: false; kind: "unreachable"; detail: string };

export interface ControlOptions {
  url: string;
  /** Asked for each time: it is renewed while the agent runs. */
  token?: () => string;
  timeoutMs: number;
  /** Ends whatever is being asked when the agent stops. */
  signal?: AbortSignal;
}

export type Control = <T>(path: string, body: unknown, schema: z.ZodType<T>) => Promise<Answer<T>>;

/** Control answers with jobs and their specs; more than this is not control. */
const MAX_ANSWER_BYTES = 8 << 20;

/**
 * Posts JSON to control. Never throws: being cut off from control is the agent's ordinary weather. On `node:http` and not
 * `fetch`, which would cost 18 MB resident for one small POST a minute.
 */
export function createControl(options: ControlOptions): Control {
  return async (path, body, schema) => {
    const timeout = AbortSignal.timeout(options.timeoutMs);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    try {
      const received = await post(new URL(path, options.url), JSON.stringify(body), {
        signal,
        headers: {
          "content-type": "application/json",
          "user-agent": USER_AGENT,
          ...(options.token && { authorization: `Bearer ${options.token()}` }),
        },
      });
      const { status, text } = received;
      if (status < 200 || status > 299) return refusal(received);
      const parsed = schema.safeParse(text === "" ? {} : JSON.parse(text));
      if (parsed.success) return { ok: true, value: parsed.data };
      return unreachable(`${path} answered what this agent can't read: ${parsed.error.message}`);
    } catch (thrown) {
      const said = timeout.aborted ? `no answer within ${options.timeoutMs / 1000} s` : words(thrown);
      return unreachable(`POST ${options.url}${path}: ${said}`);
    }
  };
}

const unreachable = (detail: string) => ({ ok: false, kind: "unreachable", detail }) as const;

interface PostOptions {
  headers: Record<string, string>;
  signal: AbortSignal;
}

function post(url: URL, body: string, options: PostOptions): Promise<Received> {
  const { request } = url.protocol === "https:" ? https : http;
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", ...options }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) sent.destroy(new Error(`an answer of over ${MAX_ANSWER_BYTES} bytes`));
        chunks.push(chunk);
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString("utf8"),
        }),
      );
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function refusal(received: Received): Answer<never> {
  const { status, text } = received;
  const problem = asProblem(text);
  const stopped = problem ? null : interceptionIn(received);
  // Not control's word either, and over as soon as somebody changes a setting.
  if (stopped) return unreachable(stoppedText(status, stopped));
  const request = problem?.requestId === undefined ? "" : ` (request ${problem.requestId})`;
  const detail = problem ? problem.detail + request : `answered ${status}: ${text.slice(0, 200)}`;
  // A gateway's 5xx is not control speaking, and neither is a redirect: the thing to do is the same as for no answer.
  if (status >= 500 || status === 429 || status < 400) return unreachable(detail);
  return { ok: false, kind: "refused", status, code: problem?.code, detail };
}

function asProblem(text: string): Problem | undefined {
  try {
    return problemSchema.safeParse(JSON.parse(text)).data;
  } catch {
    // Not ours, or from a proxy in between: the status has to do.
    return undefined;
  }
}
