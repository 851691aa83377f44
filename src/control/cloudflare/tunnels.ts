import type { IngressRule } from "../../domain/tunnel.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { ask, unlessGone } from "./refused.ts";

/** Tunnels: one for each host, configured from here. */
const EDIT = "Account › Cloudflare Tunnel › Edit";

export async function findTunnel({ sdk, settings }: Cloudflare, name: string): Promise<string | undefined> {
  const of = { account_id: settings.account, name, is_deleted: false };
  const page = await ask(`look for the tunnel ${name}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.list(of),
  );
  return page.result.find((tunnel) => tunnel.name === name)?.id;
}

export async function createTunnel({ sdk, settings }: Cloudflare, name: string): Promise<string> {
  const of = { account_id: settings.account, name, config_src: "cloudflare" } as const;
  const { id } = await ask(`make the tunnel ${name}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.create(of),
  );
  if (!id) throw new Error(`Cloudflare made the tunnel ${name} and gave it no id`);
  return id;
}

/** A secret for whoever runs the tunnel. Never stored here. */
export const tunnelToken = ({ sdk, settings }: Cloudflare, id: string): Promise<string> =>
  ask(`read the token of tunnel ${id}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.token.get(id, { account_id: settings.account }),
  );

/** Connections that stand stay; with the token from before none can be made any more. */
export const changeSecret = ({ sdk, settings }: Cloudflare, id: string, secret: string) =>
  ask(`change the secret of tunnel ${id}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.edit(id, { account_id: settings.account, tunnel_secret: secret }),
  );

export interface Ingress {
  readonly version: number;
  /** Null: it was never configured. */
  readonly rules: readonly IngressRule[] | null;
}

export async function readIngress({ sdk, settings }: Cloudflare, id: string): Promise<Ingress> {
  const found = await unlessGone(
    ask(`read the ingress of tunnel ${id}`, EDIT, async () =>
      sdk.zeroTrust.tunnels.cloudflared.configurations.get(id, { account_id: settings.account }),
    ),
  );
  // Whether a new tunnel has an empty configuration or none at all is not documented: both are "never configured".
  if (found === null) return { version: 0, rules: null };
  // The SDK's type and ours name the same keys; what only the SDK knows is not compared.
  return { version: found.version ?? 0, rules: (found.config?.ingress as IngressRule[] | undefined) ?? null };
}

/** Replaces all rules, whoever wrote them. Answers the new version. */
export async function writeIngress({ sdk, settings }: Cloudflare, id: string, rules: readonly IngressRule[]) {
  // The SDK's type wants a hostname in the catch-all too, which the documented one does not have.
  const ingress = rules as { hostname: string; service: string }[];
  const { version } = await ask(`write the ingress of tunnel ${id}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.configurations.update(id, {
      account_id: settings.account,
      config: { ingress },
    }),
  );
  return version ?? 0;
}

/** Cloudflare deletes no tunnel that is connected. */
export const dropConnections = ({ sdk, settings }: Cloudflare, id: string) =>
  ask(`end the connections of tunnel ${id}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.connections.delete(id, { account_id: settings.account }),
  );

export const deleteTunnel = ({ sdk, settings }: Cloudflare, id: string) =>
  ask(`delete the tunnel ${id}`, EDIT, async () =>
    sdk.zeroTrust.tunnels.cloudflared.delete(id, { account_id: settings.account }),
  );
