import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { z } from "zod";
import type { RegistryLogin } from "../../../src/protocol/agent/image.ts";

const DOCKER_HUB = "https://index.docker.io/v1/";

const configSchema = z.object({
  auths: z.record(z.string(), z.object({ auth: z.string().optional() })).default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().optional(),
});
const helperSchema = z.object({ Username: z.string(), Secret: z.string() });

/**
 * The `X-Registry-Auth` header for a registry: the login that came with the job, else what `docker login` left behind on this
 * host; none when nobody logged in. A login for another registry is never sent: it would be given away.
 */
export async function registryAuth(
  registry: string,
  given: RegistryLogin | undefined,
  env = process.env,
): Promise<Record<string, string>> {
  const login = await loginFor(registry, given, env);
  if (!login) return {};
  const { username, password } = login;
  return { "x-registry-auth": authHeader({ username, password, serveraddress: keyOf(registry) }) };
}

const keyOf = (registry: string) => (registry === "docker.io" ? DOCKER_HUB : registry);

/** The login that came with the job if it is for this registry, else the host's own; `undefined`: nobody logged in. */
export const loginFor = async (
  registry: string,
  given: RegistryLogin | undefined,
  env = process.env,
): Promise<Login | undefined> => (given && isFor(given, registry) ? given : hostLogin(keyOf(registry), env));

/** With its padding, which Node's own base64url leaves out: the engine takes a header without it for no login at all. */
export const authHeader = (login: object): string =>
  Buffer.from(JSON.stringify(login)).toString("base64").replaceAll("+", "-").replaceAll("/", "_");

/** Docker Hub has more names than one. */
export const isFor = (login: RegistryLogin, registry: string): boolean =>
  hostOf(login.registry) === hostOf(registry);

function hostOf(registry: string): string {
  const host = registry
    .toLowerCase()
    .replace(/^https?:\/\//, "")
    .replace(/\/.*$/, "");
  return /^(index\.|registry-1\.)?docker\.io$/.test(host) ? "docker.io" : host;
}

async function hostLogin(key: string, env: NodeJS.ProcessEnv): Promise<Login | undefined> {
  const dir = env.DOCKER_CONFIG ?? path.join(homedir(), ".docker");
  const text = await readFile(path.join(dir, "config.json"), "utf8").catch(() => "{}"); // no login is no error
  const config = configSchema.parse(JSON.parse(text));
  return (await fromHelper(config, key)) ?? fromAuths(config.auths[key]?.auth);
}

type Login = { username: string; password: string };

function fromAuths(auth: string | undefined): Login | undefined {
  if (!auth) return undefined;
  const [username = "", ...password] = Buffer.from(auth, "base64").toString("utf8").split(":");
  return { username, password: password.join(":") };
}

async function fromHelper(config: z.infer<typeof configSchema>, key: string): Promise<Login | undefined> {
  const helper = config.credHelpers[key] ?? config.credsStore;
  if (!helper) return undefined;
  const answer = await new Promise<string | undefined>((resolve) => {
    // A helper that doesn't know the registry exits non-zero: the same as not being logged in.
    const child = execFile(`docker-credential-${helper}`, ["get"], { timeout: 10_000 }, (error, stdout) =>
      resolve(error ? undefined : stdout),
    );
    child.stdin?.on("error", () => {}); // the helper may be missing or gone; the callback above says so
    child.stdin?.end(key);
  });
  const parsed = answer ? helperSchema.safeParse(JSON.parse(answer)) : undefined;
  return parsed?.success ? { username: parsed.data.Username, password: parsed.data.Secret } : undefined;
}
