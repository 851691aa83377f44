import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { z } from "zod";

const configSchema = z.object({
  auths: z.record(z.string(), z.object({ auth: z.string().optional() })).default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().optional(),
});
const helperSchema = z.object({ Username: z.string(), Secret: z.string() });

/** The `X-Registry-Auth` header for a registry, from what `docker login` left behind; none when nobody logged in. */
export async function registryAuth(registry: string, env = process.env): Promise<Record<string, string>> {
  const dir = env.DOCKER_CONFIG ?? path.join(homedir(), ".docker");
  const text = await readFile(path.join(dir, "config.json"), "utf8").catch(() => "{}"); // no login is no error
  const config = configSchema.parse(JSON.parse(text));
  const key = registry === "docker.io" ? "https://index.docker.io/v1/" : registry;
  const login = (await fromHelper(config, key)) ?? fromAuths(config.auths[key]?.auth);
  if (!login) return {};
  const header = Buffer.from(JSON.stringify({ ...login, serveraddress: key })).toString("base64url");
  return { "x-registry-auth": header };
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
