import { z } from "zod";
import { LIMITS } from "./account-limits.ts";
import { bodyOf, type Call, type Endpoint, Refusal } from "./api.ts";
import type { Tunnel, World } from "./world.ts";

/** The ingress rules of a remotely managed tunnel: one PUT replaces all of them, and nothing warns of what it overwrote. */

const seconds = z.number().int().min(0).max(LIMITS.originSeconds);
const originRequest = z.strictObject({
  connectTimeout: seconds.optional(),
  tlsTimeout: seconds.optional(),
  tcpKeepAlive: seconds.optional(),
  keepAliveTimeout: seconds.optional(),
  keepAliveConnections: z.number().int().optional(),
  noHappyEyeballs: z.boolean().optional(),
  httpHostHeader: z.string().optional(),
  originServerName: z.string().optional(),
  matchSNItoHost: z.boolean().optional(),
  caPool: z.string().optional(),
  noTLSVerify: z.boolean().optional(),
  disableChunkedEncoding: z.boolean().optional(),
  http2Origin: z.boolean().optional(),
  proxyType: z.enum(["", "socks"]).optional(),
  access: z
    .strictObject({
      audTag: z.array(z.string()).min(1),
      teamName: z.string(),
      required: z.boolean().optional(),
    })
    .optional(),
});
const HOSTNAME = /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/;
const rule = z.strictObject({
  hostname: z
    .string()
    .regex(HOSTNAME, "a hostname without port, with `*` as its first label at most")
    .optional(),
  service: z.string().refine(isService, "a URL without path, `unix:/…` or `http_status:…`"),
  path: z.string().optional(),
  originRequest: originRequest.optional(),
});
const ingress = z
  .array(rule)
  .min(1)
  .refine((rules) => isCatchAll(rules.at(-1)), "the last rule must match all: no hostname, no path")
  .refine((rules) => !rules.slice(0, -1).some(isCatchAll), "a rule before the last matches all");
const update = z.strictObject({
  config: z.strictObject({ ingress, originRequest: originRequest.optional() }).optional(),
});

const isCatchAll = (one: { hostname?: unknown; path?: unknown } | undefined): boolean =>
  one !== undefined && one.hostname === undefined && one.path === undefined;

function isService(service: string): boolean {
  if (/^http_status:[1-5][0-9]{2}$/.test(service) || /^unix(\+tls)?:\//.test(service)) return true;
  if (["hello_world", "bastion"].includes(service)) return true;
  const url = URL.parse(service);
  if (!url || !["http:", "https:", "ws:", "wss:", "tcp:"].includes(url.protocol)) return false;
  return ["", "/"].includes(url.pathname) && !service.endsWith("/") && url.search === "" && url.hash === "";
}

const PATH = "/accounts/:account/cfd_tunnel/:tunnel/configurations";

export const tunnelConfiguration = ({ unknowns }: World, tunnelOf: (call: Call) => Tunnel): Endpoint[] => [
  {
    method: "GET",
    path: PATH,
    permission: "Account › Cloudflare Tunnel › Read",
    handle: (call) => {
      const tunnel = managed(tunnelOf(call));
      if (tunnel.config.version === 0 && unknowns.configuration === "404")
        throw new Refusal(404, 1056, "Tunnel configuration not found");
      return configView(tunnel);
    },
  },
  {
    method: "PUT",
    path: PATH,
    permission: "Account › Cloudflare Tunnel › Edit",
    body: update,
    handle: (call) => {
      const tunnel = managed(tunnelOf(call));
      const last = bodyOf(call, update).config?.ingress.at(-1);
      if (!unknowns.bareCatchAll && last?.hostname === undefined)
        throw new Refusal(400, 1056, "the last rule needs a hostname, an empty one");
      tunnel.config = { version: tunnel.config.version + 1, config: bodyOf(call, update).config ?? null };
      return configView(tunnel);
    },
  },
];

function managed(tunnel: Tunnel): Tunnel {
  if (tunnel.configSrc === "cloudflare") return tunnel;
  throw new Refusal(400, 1055, "This tunnel is configured locally, not by Cloudflare");
}

const configView = ({ id, config }: Tunnel) => ({
  tunnel_id: id,
  source: "cloudflare",
  created_at: "2026-11-25T00:00:00Z",
  ...config,
});
