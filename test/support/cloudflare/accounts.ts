import { type Call, type Endpoint, Refusal } from "./api.ts";
import type { World, Zone } from "./world.ts";

/** The token's own check, accounts and zones. */
export const accounts = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: "/user/tokens/verify",
    permission: null,
    handle: () => ({ id: "7e".repeat(16), status: "active" }),
  },
  {
    method: "GET",
    path: "/accounts",
    permission: "Account › Account Settings › Read",
    query: ["name", "direction"],
    pages: { size: 20, max: 50 },
    handle: ({ query }) =>
      [world.account, ...world.otherAccounts].filter(({ name }) => (query.name ?? name) === name),
  },
  {
    method: "GET",
    path: "/accounts/:account",
    permission: "Account › Account Settings › Read",
    handle: (call) => ofAccount(world, call).account,
  },
  {
    method: "GET",
    path: "/zones",
    permission: "Zone › Zone › Read",
    query: ["name", "status", "account.id", "match", "order", "direction"],
    pages: { size: 20, max: 50 },
    handle: ({ query }) => world.zones.filter(({ name }) => (query.name ?? name) === name).map(zoneView),
  },
  {
    method: "GET",
    path: "/zones/:zone",
    permission: "Zone › Zone › Read",
    handle: (call) => zoneView(zoneOf(world, call)),
  },
];

/** Nobody reaches into another account: Cloudflare calls that an authentication error too. */
export function ofAccount(world: World, { params }: Call): World {
  if (params.account !== world.account.id) throw new Refusal(403, 10_000, "Authentication error");
  return world;
}

export function zoneOf(world: World, { params }: Call): Zone {
  const zone = world.zones.find(({ id }) => id === params.zone);
  if (!zone)
    throw new Refusal(
      404,
      7003,
      `Could not route to /zones/${params.zone}, perhaps your object identifier is invalid?`,
    );
  return zone;
}

const zoneView = ({ id, name, status, account }: Zone) => ({
  id,
  name,
  status,
  paused: false,
  type: "full",
  account,
  name_servers: ["ada.ns.cloudflare.test", "bob.ns.cloudflare.test"],
  permissions: [],
});
