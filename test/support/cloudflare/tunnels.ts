import { z } from "zod";
import { LIMITS } from "./account-limits.ts";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Call, type Endpoint, notFound, Refusal } from "./api.ts";
import { tunnelConfiguration } from "./tunnel-configuration.ts";
import type { Tunnel, World } from "./world.ts";

const secret = z
  .base64()
  .refine((text) => Buffer.from(text, "base64").length >= 32, "must be at least 32 bytes");
const newTunnel = z.strictObject({
  name: z.string().min(1).max(100),
  config_src: z.enum(["local", "cloudflare"]).default("local"),
  tunnel_secret: secret.optional(),
});
const change = z.strictObject({
  name: z.string().min(1).max(100).optional(),
  tunnel_secret: secret.optional(),
});

const BASE = "/accounts/:account/cfd_tunnel";
const EDIT = "Account › Cloudflare Tunnel › Edit";
const READ = "Account › Cloudflare Tunnel › Read";
const LIST = ["name", "is_deleted", "uuid", "status", "include_prefix", "exclude_prefix"];

/** Tunnels, their tokens and connections. */
export const tunnels = (world: World): Endpoint[] => [
  ...collection(world),
  ...connections(world),
  ...tunnelConfiguration(world, (call) => tunnelOf(ofAccount(world, call), call)),
];

const collection = (world: World): Endpoint[] => [
  {
    method: "POST",
    path: BASE,
    permission: EDIT,
    body: newTunnel,
    handle: (call) => tunnelView(create(ofAccount(world, call), bodyOf(call, newTunnel)), true),
  },
  {
    method: "GET",
    path: BASE,
    permission: READ,
    query: LIST,
    pages: { size: 20, max: 1_000 },
    handle: (call) =>
      ofAccount(world, call)
        .tunnels.filter(({ name }) => (call.query.name ?? name) === name)
        .filter(({ name }) => name.startsWith(call.query.include_prefix ?? ""))
        .filter(({ id }) => (call.query.uuid ?? id) === id)
        // Without `is_deleted` those that were deleted are listed too.
        .filter(({ deletedAt }) => [undefined, String(deletedAt !== null)].includes(call.query.is_deleted))
        .map((tunnel) => tunnelView(tunnel)),
  },
  {
    method: "GET",
    path: `${BASE}/:tunnel`,
    permission: READ,
    handle: (call) => tunnelView(anyTunnelOf(ofAccount(world, call), call)),
  },
  {
    method: "PATCH",
    path: `${BASE}/:tunnel`,
    permission: EDIT,
    body: change,
    handle: (call) => {
      const tunnel = tunnelOf(ofAccount(world, call), call);
      const asked = bodyOf(call, change);
      tunnel.secret = asked.tunnel_secret ?? tunnel.secret;
      tunnel.name = asked.name ?? tunnel.name;
      return tunnelView(tunnel);
    },
  },
  {
    method: "DELETE",
    path: `${BASE}/:tunnel`,
    permission: EDIT,
    query: ["cascade"],
    handle: (call) => {
      const tunnel = tunnelOf(ofAccount(world, call), call);
      if (tunnel.connections > 0)
        throw new Refusal(400, 1022, "Cannot delete tunnel because it has active connections");
      tunnel.deletedAt = "2026-11-25T00:00:00Z";
      return tunnelView(tunnel);
    },
  },
];

const connections = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: `${BASE}/:tunnel/token`,
    permission: EDIT,
    handle: (call) => tokenOf(world, tunnelOf(ofAccount(world, call), call)),
  },
  {
    method: "GET",
    path: `${BASE}/:tunnel/connections`,
    permission: READ,
    handle: (call) => connectionsOf(tunnelOf(ofAccount(world, call), call)),
  },
  {
    method: "DELETE",
    path: `${BASE}/:tunnel/connections`,
    permission: EDIT,
    query: ["client_id"],
    handle: (call) => {
      tunnelOf(ofAccount(world, call), call).connections = 0;
      return {};
    },
  },
];

/** What cloudflared is started with: account, tunnel and secret. */
const tokenOf = (world: World, { id, secret }: Tunnel): string =>
  Buffer.from(JSON.stringify({ a: world.account.id, t: id, s: secret })).toString("base64");

function create(world: World, asked: z.infer<typeof newTunnel>): Tunnel {
  if (world.tunnels.some(({ name, deletedAt }) => name === asked.name && deletedAt === null)) {
    const words =
      "You already have a tunnel with this name. Delete the existing tunnel, or choose a different name for your new tunnel";
    throw new Refusal(409, 1013, words);
  }
  if (world.tunnels.filter(({ deletedAt }) => deletedAt === null).length >= LIMITS.tunnels)
    throw new Refusal(400, 1_014, `You have reached the limit of ${LIMITS.tunnels} tunnels`);
  const tunnel: Tunnel = {
    id: world.uuid(),
    name: asked.name,
    configSrc: asked.config_src,
    secret: asked.tunnel_secret ?? Buffer.from(world.hexId()).toString("base64"),
    deletedAt: null,
    connections: 0,
    config: { version: 0, config: null },
  };
  world.tunnels.push(tunnel);
  return tunnel;
}

function anyTunnelOf(world: World, { params }: Call): Tunnel {
  const tunnel = world.tunnels.find(({ id }) => id === params.tunnel);
  if (!tunnel) throw notFound("Tunnel");
  return tunnel;
}

function tunnelOf(world: World, call: Call): Tunnel {
  const tunnel = anyTunnelOf(world, call);
  if (tunnel.deletedAt !== null) throw notFound("Tunnel");
  return tunnel;
}

const connectionsOf = ({ id, connections }: Tunnel) =>
  connections === 0 ? [] : [{ id, version: "2026.8.2", arch: "linux_amd64", config_version: 1, conns: [] }];

const tunnelView = (tunnel: Tunnel, isNew = false) => ({
  id: tunnel.id,
  name: tunnel.name,
  config_src: tunnel.configSrc,
  remote_config: tunnel.configSrc === "cloudflare",
  status: tunnel.connections > 0 ? "healthy" : "inactive",
  tun_type: "cfd_tunnel",
  created_at: "2026-11-25T00:00:00Z",
  deleted_at: tunnel.deletedAt,
  connections: [],
  ...(isNew ? { credentials_file: { TunnelID: tunnel.id, TunnelSecret: tunnel.secret } } : {}),
});
