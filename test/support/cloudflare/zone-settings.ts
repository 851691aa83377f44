import { type Endpoint, notFound, type Permission } from "./api.ts";
import type { World } from "./world.ts";

/** What of a zone's security Sluice reads. Nothing here is ever written by it. */
const read = (
  world: World,
  path: string,
  permission: Permission,
  view: (security: World["zones"][number]["security"], name: string) => unknown,
): Endpoint => ({
  method: "GET",
  path,
  permission,
  handle: ({ params }) => {
    const zone = world.zones.find(({ id }) => id === params.zone);
    if (!zone) throw notFound("zone");
    return view(zone.security, params.setting ?? "");
  },
});

export const zoneSettings = (world: World): Endpoint[] => [
  read(world, "/zones/:zone/settings/:setting", "Zone › Zone Settings › Read", ({ level }, setting) => {
    if (setting !== "security_level") throw notFound(`setting ${setting}`);
    return { id: setting, value: level, editable: true };
  }),
  read(world, "/zones/:zone/bot_management", "Zone › Bot Management › Read", ({ botFightMode }) => ({
    fight_mode: botFightMode,
    enable_js: true,
    using_latest_model: true,
  })),
];
