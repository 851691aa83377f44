import { CliError } from "./problem.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** This machine: no proxy of another one leads here. */
const OWN = ["localhost", ".localhost", "127.0.0.1", "[::1]"];

/** The proxies of an environment, by curl's names; undefined: there are none, or Node itself was told to use them. */
export function proxiesOf(env: Env): { http?: string; https?: string; except: string } | undefined {
  const of = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
  const [http, https] = [of("HTTP_PROXY"), of("HTTPS_PROXY")];
  if ((http === undefined && https === undefined) || env.NODE_USE_ENV_PROXY === "1") return undefined;
  const except = [of("NO_PROXY"), ...OWN].filter((one) => one !== undefined).join(",");
  return { ...(http && { http }), ...(https && { https }), except };
}

/** Sends what this process asks of others through the environment's proxies. Without one it costs nothing. */
export async function useProxies(env: Env): Promise<void> {
  const proxies = proxiesOf(env);
  if (!proxies) return;
  const { http, https, except } = proxies;
  // By its default: of a CommonJS module bundled for later nothing else has a name.
  const { EnvHttpProxyAgent, setGlobalDispatcher } = (await import("undici")).default;
  try {
    // Empty: none, whatever the process's own environment says.
    const agent = new EnvHttpProxyAgent({
      httpProxy: http ?? "",
      httpsProxy: https ?? "",
      noProxy: except,
    });
    setGlobalDispatcher(agent);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(
      "usage",
      `HTTP_PROXY or HTTPS_PROXY is no address of a proxy (${why}): write http://host:port`,
    );
  }
}
