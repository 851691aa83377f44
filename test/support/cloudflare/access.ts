import { z } from "zod";
import { LIMITS } from "./account-limits.ts";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Endpoint, notFound, Refusal } from "./api.ts";
import { type AccessApp, type AccessPolicy, drop, type ServiceToken, type World } from "./world.ts";

/** Access: applications in front of hostnames, reusable policies, and the service tokens that machines pass with. */

const include = z.array(
  z.union([
    z.strictObject({ service_token: z.strictObject({ token_id: z.string() }) }),
    z.strictObject({ any_valid_service_token: z.strictObject({}) }),
    z.strictObject({ everyone: z.strictObject({}) }),
  ]),
);
const newPolicy = z.strictObject({
  name: z.string().min(1),
  decision: z.enum(["allow", "deny", "non_identity", "bypass"]),
  include: include.min(1),
  exclude: include.optional(),
  require: include.optional(),
  session_duration: z.string().optional(),
});
const duration = z.string().regex(/^(forever|[0-9]+h)$/);
const newToken = z.strictObject({
  name: z.string().min(1),
  duration: duration.optional(),
  enabled: z.boolean().optional(),
});
const newApp = z.strictObject({
  type: z.literal("self_hosted"),
  name: z.string().min(1),
  domain: z.string(),
  destinations: z.array(z.strictObject({ type: z.literal("public"), uri: z.string() })).optional(),
  policies: z
    .array(z.union([z.string(), z.strictObject({ id: z.string(), precedence: z.number().int().optional() })]))
    .optional(),
  app_launcher_visible: z.boolean().optional(),
  service_auth_401_redirect: z.boolean().optional(),
  session_duration: z.string().optional(),
});

const { accessDomains: MOST_DOMAINS, serviceTokens: MOST_TOKENS } = LIMITS;
const EDIT = "Account › Access: Apps and Policies › Edit";
const READ = "Account › Access: Apps and Policies › Read";
const TOKENS = "Account › Access: Service Tokens › Edit";
const PAGES = { size: 25, max: 1_000 };
const BASE = "/accounts/:account/access";

export const access = (world: World): Endpoint[] => [
  ...serviceTokens(world),
  ...policies(world),
  ...applications(world),
  {
    method: "GET",
    path: `${BASE}/organizations`,
    permission: "Account › Access: Organizations, Identity Providers, and Groups › Read",
    handle: (call) => {
      ofAccount(world, call);
      if (!world.unknowns.zeroTrust) throw new Refusal(404, 9_999, "access.api.error.not_enabled");
      return { name: "Acme", auth_domain: "acme.cloudflareaccess.com" };
    },
  },
];

const serviceTokens = (world: World): Endpoint[] => [
  {
    method: "POST",
    path: `${BASE}/service_tokens`,
    permission: TOKENS,
    body: newToken,
    handle: (call) => createToken(ofAccount(world, call), bodyOf(call, newToken)),
  },
  {
    method: "GET",
    path: `${BASE}/service_tokens`,
    permission: "Account › Access: Service Tokens › Read",
    query: ["name", "search"],
    pages: PAGES,
    handle: (call) =>
      ofAccount(world, call)
        .serviceTokens.filter(({ name }) => (call.query.name ?? name) === name)
        .map(tokenView),
  },
  {
    method: "POST",
    path: `${BASE}/service_tokens/:id/rotate`,
    permission: TOKENS,
    handle: (call) => {
      const token = ofAccount(world, call).serviceTokens.find(({ id }) => id === call.params.id);
      if (!token) throw notFound("service token");
      return { ...tokenView(token), client_secret: `cfast_${world.hexId()}` };
    },
  },
  removal(`${BASE}/service_tokens/:id`, TOKENS, (call) => ofAccount(world, call).serviceTokens),
];

const policies = (world: World): Endpoint[] => [
  {
    method: "POST",
    path: `${BASE}/policies`,
    permission: EDIT,
    body: newPolicy,
    handle: (call) => {
      if (world.accessPolicies.length >= LIMITS.accessPolicies)
        throw new Refusal(400, 12_130, `access.api.error.policy_limit: ${LIMITS.accessPolicies} policies`);
      const policy = { id: ofAccount(world, call).uuid(), ...bodyOf(call, newPolicy) };
      world.accessPolicies.push(policy);
      return policyView(policy);
    },
  },
  {
    method: "GET",
    path: `${BASE}/policies`,
    permission: READ,
    pages: PAGES,
    handle: (call) => ofAccount(world, call).accessPolicies.map(policyView),
  },
  removal(`${BASE}/policies/:id`, EDIT, (call) => {
    const linked = world.accessApps.flatMap(({ policies }) => policies as { id?: string }[]);
    if (linked.some((policy) => policy.id === call.params.id))
      throw new Refusal(409, 12_132, "access.api.error.policy_in_use");
    return ofAccount(world, call).accessPolicies;
  }),
];

const applications = (world: World): Endpoint[] => [
  {
    method: "POST",
    path: `${BASE}/apps`,
    permission: EDIT,
    body: newApp,
    handle: (call) => createApp(ofAccount(world, call), bodyOf(call, newApp)),
  },
  {
    method: "GET",
    path: `${BASE}/apps`,
    permission: READ,
    query: ["name", "domain", "exact", "search"],
    pages: PAGES,
    handle: (call) =>
      ofAccount(world, call)
        .accessApps.filter(({ name }) => (call.query.name ?? name) === name)
        .filter(({ domains }) => call.query.domain === undefined || domains.includes(call.query.domain))
        .map(appView),
  },
  removal(`${BASE}/apps/:id`, EDIT, (call) => ofAccount(world, call).accessApps),
];

function removal<T extends { id: string }>(
  path: string,
  permission: Endpoint["permission"],
  itemsOf: (call: Parameters<Endpoint["handle"]>[0]) => T[],
): Endpoint {
  return {
    method: "DELETE",
    path,
    permission,
    handle: (call) => {
      const items = itemsOf(call);
      const item = items.find(({ id }) => id === call.params.id);
      if (!drop(items, item)) throw notFound("Access resource");
      return { id: item.id };
    },
  };
}

/** The only answer that ever shows the secret. */
function createToken(world: World, { name }: z.infer<typeof newToken>) {
  if (!world.unknowns.zeroTrust && !world.unknowns.tokensWithout)
    throw new Refusal(400, 9_999, "access.api.error.not_enabled");
  if (world.serviceTokens.length >= MOST_TOKENS)
    throw new Refusal(400, 12_130, `access.api.error.service_token_limit: ${MOST_TOKENS} service tokens`);
  const token = {
    id: world.uuid(),
    name,
    clientId: `${world.hexId()}.access`,
    secret: `cfast_${world.hexId()}`,
  };
  world.serviceTokens.push(token);
  return { ...tokenView(token), client_secret: token.secret };
}

function createApp(world: World, asked: z.infer<typeof newApp>) {
  const domains = asked.destinations?.map(({ uri }) => uri) ?? [asked.domain];
  if (domains.length > MOST_DOMAINS)
    throw new Refusal(
      400,
      12_130,
      `access.api.error.invalid_request: ${domains.length} domains, ${MOST_DOMAINS} at most`,
    );
  if (!domains.includes(asked.domain))
    throw new Refusal(
      400,
      12_130,
      "access.api.error.invalid_request: domain must be one of the destinations",
    );
  for (const domain of domains) {
    const host = domain.split("/")[0] ?? "";
    if (!world.zones.some(({ name }) => host === name || host.endsWith(`.${name}`)))
      throw new Refusal(400, 12_130, `access.api.error.invalid_request: ${domain} does not belong to zone`);
    if (world.accessApps.some((app) => app.domains.includes(domain)))
      throw new Refusal(409, 11_010, "access.api.error.application_already_exists");
  }
  if (world.accessApps.length >= LIMITS.accessApps)
    throw new Refusal(400, 12_130, `access.api.error.app_limit: ${LIMITS.accessApps} applications`);
  const app = { id: world.uuid(), name: asked.name, domains, policies: asked.policies ?? [] };
  world.accessApps.push(app);
  return appView(app);
}

const tokenView = ({ id, name, clientId }: ServiceToken) => ({
  id,
  name,
  client_id: clientId,
  duration: "8760h",
  enabled: true,
});
const policyView = ({ id, name, decision, include }: AccessPolicy) => ({
  id,
  name,
  decision,
  include,
  reusable: true,
});
const appView = ({ id, name, domains, policies }: AccessApp) => ({
  id,
  aud: id.replaceAll("-", "").repeat(2),
  type: "self_hosted",
  name,
  domain: domains[0],
  self_hosted_domains: domains,
  destinations: domains.map((uri) => ({ type: "public", uri })),
  policies,
});
