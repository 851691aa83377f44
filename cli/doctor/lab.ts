import { randomBytes } from "node:crypto";
import { APIError } from "cloudflare";
import { type Sdk, unlessMissing } from "../setup/cloudflare.ts";
import { edgeWorker, type Installation } from "../setup/installation.ts";

/**
 * What the questions need in the account for some minutes: a tunnel, routes, records, a Worker, an Access application.
 * All of it carries a name that nothing else has, so that whatever a run leaves behind, cut short at any point, is found
 * and removed by the next one.
 */
const NAME = "sluice-doctor";
const COMMENT = "sluice doctor";
/** A slot's hostname begins with `sl-`, and 16 random characters follow: the edge takes ours for one. */
const LABEL = "sl-doctor";

export interface Lab {
  readonly sdk: Sdk;
  /** For cleaning: no Ctrl-C ends it. */
  readonly sweeper: Sdk;
  readonly installation: Installation;
  /** A slot's hostname. */
  readonly slot: string;
  /** One on which the probing Worker answers. */
  readonly echo: string;
}

export function newLab({ sdk, sweeper, installation }: Pick<Lab, "sdk" | "sweeper" | "installation">): Lab {
  const random = () => randomBytes(5).toString("hex");
  const { name } = installation.slotZone;
  return {
    sdk,
    sweeper,
    installation,
    slot: `${LABEL}${random()}.${name}`,
    echo: `${NAME}-${random()}.${name}`,
  };
}

const ofAccount = ({ installation }: Lab) => ({ account_id: installation.account.id });
const ofZone = ({ installation }: Lab) => ({ zone_id: installation.slotZone.id });
/** Made once: a lost answer leaves something that the cleaning finds. */
const ONCE = { maxRetries: 0 };

export async function makeTunnel(lab: Lab): Promise<string> {
  const of = { ...ofAccount(lab), name: NAME, config_src: "cloudflare" } as const;
  const { id = "" } = await lab.sdk.zeroTrust.tunnels.cloudflared.create(of, ONCE);
  return id;
}

/** Null: Cloudflare answers that there is none. */
export const readConfiguration = (lab: Lab, tunnel: string) =>
  unlessMissing(() => lab.sdk.zeroTrust.tunnels.cloudflared.configurations.get(tunnel, ofAccount(lab)));

export function configure(lab: Lab, tunnel: string): PromiseLike<unknown> {
  const rules = [{ hostname: lab.slot, service: "http://127.0.0.1:1" }, { service: "http_status:404" }];
  // The SDK's type wants a hostname in the catch-all, too: whether Cloudflare does is the question.
  const ingress = rules as { hostname: string; service: string }[];
  return lab.sdk.zeroTrust.tunnels.cloudflared.configurations.update(
    tunnel,
    { ...ofAccount(lab), config: { ingress } },
    ONCE,
  );
}

/** Null: no field says how the route fails. */
export async function makeRoute(lab: Lab): Promise<boolean | null> {
  const script = edgeWorker(lab.installation.name);
  const made = await lab.sdk.workers.routes.create(
    { ...ofZone(lab), pattern: `${lab.slot}/*`, script },
    ONCE,
  );
  const read: object = await lab.sdk.workers.routes.get(made.id, ofZone(lab));
  // In the API's answers, not in the SDK's types.
  const mode: unknown = Reflect.get(read, "request_limit_fail_open");
  return typeof mode === "boolean" ? mode : null;
}

export const makeRecord = (lab: Lab, name: string, content: string) =>
  lab.sdk.dns.records.create(
    {
      ...ofZone(lab),
      type: content === "100::" ? "AAAA" : "CNAME",
      name,
      content,
      proxied: true,
      ttl: 1,
      comment: COMMENT,
    },
    ONCE,
  );

/** Says which of Access's headers got through to it; never their values. */
const ECHO = `export default { fetch: ({ headers }) => Response.json({
  secret: headers.has("cf-access-client-secret"), assertion: headers.has("cf-access-jwt-assertion") }) };`;

export async function makeEcho(lab: Lab): Promise<void> {
  const { sdk, echo } = lab;
  const metadata = { main_module: "worker.js", bindings: [], compatibility_date: "2026-11-01" };
  const form = new FormData();
  form.set("metadata", JSON.stringify(metadata));
  form.set("worker.js", new File([ECHO], "worker.js", { type: "application/javascript+module" }));
  // The SDK's own call sends its files under names that no module has.
  await sdk.put(`/accounts/${lab.installation.account.id}/workers/scripts/${NAME}`, { ...ONCE, body: form });
  await sdk.workers.routes.create({ ...ofZone(lab), pattern: `${echo}/*`, script: NAME }, ONCE);
  await makeRecord(lab, echo, "100::");
}

export interface ServiceToken {
  readonly id: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

export async function makeServiceToken(lab: Lab): Promise<ServiceToken> {
  const of = { ...ofAccount(lab), name: NAME, duration: "1h" };
  const made = await lab.sdk.zeroTrust.access.serviceTokens.create(of, ONCE);
  return { id: made.id ?? "", clientId: made.client_id ?? "", clientSecret: made.client_secret ?? "" };
}

/** Access before both hostnames; only the token opens it. */
export async function makeAccess(lab: Lab, token: ServiceToken): Promise<void> {
  const { access } = lab.sdk.zeroTrust;
  const policy = await access.policies.create(
    {
      ...ofAccount(lab),
      name: NAME,
      decision: "non_identity",
      include: [{ service_token: { token_id: token.id } }],
    },
    ONCE,
  );
  await access.applications.create(
    {
      ...ofAccount(lab),
      type: "self_hosted",
      name: NAME,
      domain: lab.slot,
      destinations: [lab.slot, lab.echo].map((uri) => ({ type: "public" as const, uri })),
      app_launcher_visible: false,
      service_auth_401_redirect: true,
      policies: [{ id: policy.id ?? "", precedence: 1 }],
    },
    ONCE,
  );
}

/**
 * Removes whatever this run or one before left: hostnames first, what they lead to after. Answers what would not go, in
 * words. One that fails keeps no other from going.
 */
export async function clean(lab: Lab): Promise<string[]> {
  const { sweeper: sdk } = lab;
  const [account, zone] = [ofAccount(lab), ofZone(lab)];
  const { access, tunnels } = sdk.zeroTrust;
  const isOurs = ({ name }: { readonly name?: string | undefined }) => name === NAME;
  const left: string[] = [];
  const each = async <T>(
    what: string,
    list: () => PromiseLike<readonly T[]>,
    remove: (one: T) => PromiseLike<unknown>,
  ) => {
    try {
      for (const one of await list()) await unlessMissing(() => remove(one));
    } catch (error) {
      // A token that may not read these has made none.
      if (!(error instanceof APIError && error.status === 403)) left.push(`${what}: ${wordsOf(error)}`);
    }
  };
  await each(
    "DNS records",
    async () => (await sdk.dns.records.list({ ...zone, comment: { exact: COMMENT }, per_page: 100 })).result,
    ({ id }) => sdk.dns.records.delete(id, zone),
  );
  await each(
    "Worker routes",
    async () => (await sdk.workers.routes.list(zone)).result.filter(isLabRoute),
    ({ id }) => sdk.workers.routes.delete(id, zone),
  );
  await each(
    "the Worker",
    async () => (await sdk.workers.scripts.list(account)).result.filter(({ id }) => id === NAME),
    () => sdk.workers.scripts.delete(NAME, account),
  );
  await each(
    "the Access application",
    async () => (await access.applications.list({ ...account, name: NAME })).result.filter(isOurs),
    ({ id = "" }) => access.applications.delete(id, account),
  );
  await each(
    "the Access policy",
    async () => (await access.policies.list({ ...account, per_page: 1_000 })).result.filter(isOurs),
    ({ id = "" }) => access.policies.delete(id, account),
  );
  await each(
    "the service token",
    async () => (await access.serviceTokens.list({ ...account, name: NAME })).result.filter(isOurs),
    ({ id = "" }) => access.serviceTokens.delete(id, account),
  );
  await each(
    "the tunnel",
    async () =>
      (await tunnels.cloudflared.list({ ...account, name: NAME, is_deleted: false })).result.filter(isOurs),
    ({ id = "" }) => tunnels.cloudflared.delete(id, account),
  );
  return left;
}

const isLabRoute = ({
  pattern,
  script,
}: {
  readonly pattern: string;
  readonly script?: string | undefined;
}): boolean => script === NAME || new RegExp(`^${LABEL}[0-9a-f]{10}\\.`).test(pattern);

export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
