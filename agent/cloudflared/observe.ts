import http from "node:http";
import { z } from "zod";

/** What a cloudflared says of itself on its metrics port. */
export interface Observed {
  /** It answers at all. */
  answers: boolean;
  /** It has at least one connection to Cloudflare. */
  ready: boolean;
  connections?: number | undefined;
}

const WITHIN_MS = 2_000;
const MAX_BYTES = 1 << 20;

const readySchema = z.object({ readyConnections: z.number().int() });
const configSchema = z.object({ version: z.number().int() });

export async function observe(port: number): Promise<Observed> {
  const answer = await get(port, "/ready");
  if (!answer) return { answers: false, ready: false };
  const connections = readySchema.safeParse(parseJson(answer.text)).data?.readyConnections;
  return { answers: true, ready: answer.status === 200, connections };
}

/** Version of the ingress rules that it runs. */
export async function configVersionOf(port: number): Promise<number | undefined> {
  const answer = await get(port, "/config");
  return configSchema.safeParse(parseJson(answer?.text ?? "")).data?.version;
}

/** Its own version: the metrics name the build that runs, which a look at the program on disk might not. */
export async function versionOf(port: number): Promise<string | undefined> {
  const answer = await get(port, "/metrics");
  return /^build_info\{[^}]*\bversion="([^"]{1,80})"/m.exec(answer?.text ?? "")?.[1];
}

/** Requests that it has carried since it started, and those that failed between it and the app. */
export async function countsOf(port: number): Promise<{ requests: number; errors: number } | undefined> {
  const text = (await get(port, "/metrics"))?.text ?? "";
  const requests = sumOf(text, "cloudflared_tunnel_total_requests");
  return requests === undefined
    ? undefined
    : { requests, errors: sumOf(text, "cloudflared_tunnel_request_errors") ?? 0 };
}

/** Of all samples of a metric, whatever their labels; undefined: it has none. */
function sumOf(text: string, name: string): number | undefined {
  const samples = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}\n]*\\})? (\\d[\\d.e+]*)$`, "gm"))];
  if (samples.length === 0) return undefined;
  return Math.round(samples.reduce((sum, [, value]) => sum + Number(value), 0));
}

/** Undefined: no answer in time. */
function get(port: number, path: string): Promise<{ status: number; text: string } | undefined> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(WITHIN_MS);
    const request = http.get({ host: "127.0.0.1", port, path, agent: false, signal }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.length > MAX_BYTES) request.destroy();
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", () => resolve(undefined));
    });
    request.on("error", () => resolve(undefined));
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // cut short, or something else listens there
  }
}
