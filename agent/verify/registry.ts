import http from "node:http";
import https from "node:https";
import type { RegistryLogin } from "../../src/protocol/agent/image.ts";
import { SHIPPED } from "../../src/protocol/images.ts";
import { loginFor } from "../runtime/docker/registry-auth.ts";
import type { ImageRef } from "../runtime/image-ref.ts";
import type { Read } from "./attached.ts";

type RegistryRef = Extract<ImageRef, { kind: "registry" }>;

const WITHIN_MS = 15_000;
/** A signature is some kilobytes; more is none. */
const MAX_BYTES = 1 << 20;
const REDIRECTS = 3;

interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

/**
 * Reads small things of one repository over the registry's API (OCI distribution-spec 1.1). The engine offers no such call.
 * `undefined`: the registry has no such thing. Throws with words when it can't be asked.
 */
export function repositoryReader(ref: RegistryRef, given: RegistryLogin | undefined): Read {
  // It is in no registry that could hold a signature beside it.
  if (ref.registry === SHIPPED) return async () => undefined;
  const { base, name } = addressOf(ref);
  let authorization: string | undefined;
  return async (path, accept) => {
    const url = new URL(`/v2/${name}/${path}`, base);
    let answer = await get(url, { accept, ...(authorization && { authorization }) });
    if (answer.status === 401 && !authorization) {
      authorization = await authorize(answer.headers["www-authenticate"] ?? "", ref.registry, given);
      answer = await get(url, { accept, ...(authorization && { authorization }) });
    }
    // 405: of a registry from before there were referrers.
    if (answer.status === 404 || answer.status === 405) return undefined;
    if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}`);
    return answer.body;
  };
}

/** Docker Hub is known under one name and asked under another; a registry on loopback needs no TLS, as for the engine. */
function addressOf({ registry, repository }: RegistryRef): { base: string; name: string } {
  if (registry === "docker.io") {
    const path = repository.replace(/^(?:index\.|registry-1\.)?docker\.io\//, "");
    return { base: "https://registry-1.docker.io", name: path.includes("/") ? path : `library/${path}` };
  }
  const isLoopback = /^(?:127\.|localhost(?::|$)|\[::1\])/.test(registry);
  const name = repository.slice(registry.length + 1);
  return { base: `${isLoopback ? "http" : "https"}://${registry}`, name };
}

/** What a registry's challenge asks for: a login, or a token that its own service gives for one (or for none). */
async function authorize(
  challenge: string,
  registry: string,
  given: RegistryLogin | undefined,
): Promise<string | undefined> {
  const login = await loginFor(registry, given);
  const basic = login && `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
  if (!/^bearer/i.test(challenge)) return basic;
  const { realm, ...rest } = Object.fromEntries(
    [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]),
  );
  if (realm === undefined) return basic;
  const url = new URL(realm);
  if (url.protocol !== "https:" && !/^(?:127\.|localhost$)/.test(url.hostname))
    throw new Error(`${registry} wants a login sent to ${realm}, which is not https`);
  for (const key of ["service", "scope"]) if (rest[key] !== undefined) url.searchParams.set(key, rest[key]);
  const answer = await get(url, basic ? { authorization: basic } : {});
  if (answer.status !== 200) throw new Error(`${url.origin} gave no token: it answered ${answer.status}`);
  const said: unknown = JSON.parse(answer.body.toString("utf8"));
  const token = said !== null && typeof said === "object" ? Object.entries(said) : [];
  const [, text] = token.find(([key]) => key === "token" || key === "access_token") ?? [];
  return typeof text === "string" ? `Bearer ${text}` : undefined;
}

/** Follows redirects, to which no login goes along. */
async function get(url: URL, headers: Record<string, string>, redirects = REDIRECTS): Promise<Answer> {
  const answer = await getOnce(url, headers);
  const { location } = answer.headers;
  if (answer.status < 300 || answer.status > 399 || location === undefined || redirects === 0) return answer;
  const { authorization: _, ...others } = headers;
  return get(new URL(location, url), others, redirects - 1);
}

/** On `node:http` and not `fetch`, as control is asked: it costs nothing resident. */
function getOnce(url: URL, headers: Record<string, string>): Promise<Answer> {
  const { get: ask } = url.protocol === "https:" ? https : http;
  return new Promise((resolve, reject) => {
    const request = ask(
      url,
      { agent: false, headers, signal: AbortSignal.timeout(WITHIN_MS) },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          chunks.push(chunk);
          if (bytes > MAX_BYTES) request.destroy(new Error(`${url} sent more than ${MAX_BYTES} bytes`));
        });
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        );
      },
    );
    request.on("error", reject);
  });
}
