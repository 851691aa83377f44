import type { z } from "zod";
import { type Problem, type ProblemCode, problemSchema } from "../src/protocol/problem.ts";
import { words } from "./outcome.ts";

/** An answer of control: what was asked for, a refusal with its code, or no usable answer at all. */
export type Answer<T> =
  | { ok: true; value: T }
  | { ok: false; kind: "refused"; status: number; code: ProblemCode | undefined; detail: string }
  | { ok: false; kind: "unreachable"; detail: string };

export interface ControlOptions {
  url: string;
  token?: string;
  fetch: typeof fetch;
  timeoutMs: number;
  /** Ends whatever is being asked when the agent stops. */
  signal?: AbortSignal;
}

export type Control = <T>(path: string, body: unknown, schema: z.ZodType<T>) => Promise<Answer<T>>;

/** Posts JSON to control. Never throws: being cut off from control is the agent's ordinary weather. */
export function createControl(options: ControlOptions): Control {
  return async (path, body, schema) => {
    try {
      const response = await send(options, path, body);
      if (!response.ok) return await refusal(response);
      const parsed = schema.safeParse(response.status === 204 ? {} : await response.json());
      if (parsed.success) return { ok: true, value: parsed.data };
      return {
        ok: false,
        kind: "unreachable",
        detail: `${path} answered what this agent can't read: ${parsed.error.message}`,
      };
    } catch (thrown) {
      return { ok: false, kind: "unreachable", detail: `POST ${options.url}${path}: ${words(thrown)}` };
    }
  };
}

function send({ url, token, fetch, timeoutMs, signal }: ControlOptions, path: string, body: unknown) {
  const timeout = AbortSignal.timeout(timeoutMs);
  return fetch(new URL(path, url), {
    method: "POST",
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
    redirect: "error",
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
}

async function refusal(response: Response): Promise<Answer<never>> {
  const text = await response.text();
  const problem = asProblem(text);
  const detail = problem?.detail ?? `answered ${response.status}: ${text.slice(0, 200)}`;
  // A gateway's 5xx is not control speaking: the thing to do is the same as for no answer.
  if (response.status >= 500 || response.status === 429) return { ok: false, kind: "unreachable", detail };
  return { ok: false, kind: "refused", status: response.status, code: problem?.code, detail };
}

function asProblem(text: string): Problem | undefined {
  try {
    return problemSchema.safeParse(JSON.parse(text)).data;
  } catch {
    // Not ours, or from a proxy in between: the status has to do.
    return undefined;
  }
}
