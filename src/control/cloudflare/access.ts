import type { Cloudflare } from "./cloudflare.ts";
import { ask, Refused } from "./refused.ts";

/** Access applications in front of slots: only who carries the service token gets as far as the tunnel. */
const EDIT = "Account › Access: Apps and Policies › Edit";
const PAGE = 1_000;

/** The service token's id at Cloudflare; its client id is all that is bound. */
export async function serviceTokenId({ sdk, settings }: Cloudflare, clientId: string): Promise<string> {
  const page = await ask("list the service tokens", "Account › Access: Service Tokens › Read", async () =>
    sdk.zeroTrust.access.serviceTokens.list({ account_id: settings.account, per_page: PAGE }),
  );
  const id = page.result.find((token) => token.client_id === clientId)?.id;
  if (id) return id;
  const words = `the account has no service token with the client id ${clientId}: make one, and set ACCESS_CLIENT_ID and ACCESS_CLIENT_SECRET of both Workers`;
  throw new Refused("refused", words, { retryAfterMs: 60_000 });
}

export async function findApp({ sdk, settings }: Cloudflare, name: string): Promise<string | undefined> {
  const page = await ask("list the Access applications", EDIT, async () =>
    sdk.zeroTrust.access.applications.list({
      account_id: settings.account,
      name,
      exact: true,
      per_page: PAGE,
    }),
  );
  return page.result.find((app) => app.name === name)?.id;
}

/** Machines have no identity: `non_identity` asks for a service token instead. */
export async function createPolicy(
  { sdk, settings }: Cloudflare,
  { name, tokenId }: { name: string; tokenId: string },
): Promise<string> {
  const { id } = await ask(`make the Access policy ${name}`, EDIT, async () =>
    sdk.zeroTrust.access.policies.create({
      account_id: settings.account,
      name,
      decision: "non_identity",
      include: [{ service_token: { token_id: tokenId } }],
    }),
  );
  if (!id) throw new Error(`Cloudflare made the Access policy ${name} and gave it no id`);
  return id;
}

export async function findPolicy({ sdk, settings }: Cloudflare, name: string): Promise<string | undefined> {
  const page = await ask("list the Access policies", EDIT, async () =>
    sdk.zeroTrust.access.policies.list({ account_id: settings.account, per_page: PAGE }),
  );
  return page.result.find((policy) => policy.name === name)?.id;
}

export async function createApp(
  { sdk, settings }: Cloudflare,
  { name, domains, policyId }: { name: string; domains: readonly string[]; policyId: string },
): Promise<string> {
  const { id } = await ask(`make the Access application ${name}`, EDIT, async () =>
    sdk.zeroTrust.access.applications.create({
      account_id: settings.account,
      type: "self_hosted",
      name,
      domain: domains[0] ?? "",
      destinations: domains.map((uri) => ({ type: "public" as const, uri })),
      app_launcher_visible: false,
      service_auth_401_redirect: true,
      policies: [{ id: policyId, precedence: 1 }],
    }),
  );
  if (!id) throw new Error(`Cloudflare made the Access application ${name} and gave it no id`);
  return id;
}

export const deleteApp = ({ sdk, settings }: Cloudflare, id: string) =>
  ask(`delete the Access application ${id}`, EDIT, async () =>
    sdk.zeroTrust.access.applications.delete(id, { account_id: settings.account }),
  );

/** Not while an application uses it. */
export const deletePolicy = ({ sdk, settings }: Cloudflare, id: string) =>
  ask(`delete the Access policy ${id}`, EDIT, async () =>
    sdk.zeroTrust.access.policies.delete(id, { account_id: settings.account }),
  );
