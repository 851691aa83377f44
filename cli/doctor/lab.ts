import { APIError } from "cloudflare";
import { type Sdk, unlessMissing } from "../setup/cloudflare.ts";
import { edgeWorker, type Installation } from "../setup/installation.ts";
import { NAME, nameOf, newRun, overAt, runIn } from "./run-name.ts";

/**
 * What the questions need in the account for some minutes: a tunnel, routes, records, a Worker, an Access application.
 * All of it carries the name of its run: two may be at work at once, and whatever one left behind, cut short at any point, is
 * found and removed by a later one, once the run is certainly over.
 */
const COMMENT = "sluice doctor ";
/** A slot's hostname begins with `sl-`, and 16 random characters follow: the edge takes ours for one. */
const LABEL = "sl-doctor";

export interface Lab {
  readonly sdk: Sdk;
  /** For cleaning: no Ctrl-C ends it. */
  readonly sweeper: Sdk;
  readonly installation: Installation;
  readonly run: string;
  /** The run's name, as its things have it. */
  readonly name: string;
  /** When it began, epoch ms, by control's clock. */
  readonly now: number;
  /** A slot's hostname. */
  readonly slot: string;
  /** One on which the probing Worker answers. */
  readonly echo: string;
}

/** `now`: epoch ms by control's clock, so that no run takes another for older than it is. */
export function newLab(of: Pick<Lab, "sdk" | "sweeper" | "installation" | "now">): Lab {
  const run = newRun(of.now);
  const { name } = of.installation.slotZone;
  return { ...of, run, name: nameOf(run), slot: `${LABEL}${run}.${name}`, echo: `${nameOf(run)}.${name}` };
}

const ofAccount = ({ installation }: Lab) => ({ account_id: installation.account.id });
const ofZone = ({ installation }: Lab) => ({ zone_id: installation.slotZone.id });
/** Made once: a lost answer leaves something that the cleaning finds. */
const ONCE = { maxRetries: 0 };

export async function makeTunnel(lab: Lab): Promise<string> {
  const of = { ...ofAccount(lab), name: lab.name, config_src: "cloudflare" } as const;
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
      comment: COMMENT + lab.run,
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
  await sdk.put(`/accounts/${lab.installation.account.id}/workers/scripts/${lab.name}`, {
    ...ONCE,
    body: form,
  });
  await sdk.workers.routes.create({ ...ofZone(lab), pattern: `${echo}/*`, script: lab.name }, ONCE);
  await makeRecord(lab, echo, "100::");
}

export interface ServiceToken {
  readonly id: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

export async function makeServiceToken(lab: Lab): Promise<ServiceToken> {
  const of = { ...ofAccount(lab), name: lab.name, duration: "1h" };
  const made = await lab.sdk.zeroTrust.access.serviceTokens.create(of, ONCE);
  return { id: made.id ?? "", clientId: made.client_id ?? "", clientSecret: made.client_secret ?? "" };
}

/** Access before both hostnames; only the token opens it. */
export async function makeAccess(lab: Lab, token: ServiceToken): Promise<void> {
  const { access } = lab.sdk.zeroTrust;
  const policy = await access.policies.create(
    {
      ...ofAccount(lab),
      name: lab.name,
      decision: "non_identity",
      include: [{ service_token: { token_id: token.id } }],
    },
    ONCE,
  );
  await access.applications.create(
    {
      ...ofAccount(lab),
      type: "self_hosted",
      name: lab.name,
      domain: lab.slot,
      destinations: [lab.slot, lab.echo].map((uri) => ({ type: "public" as const, uri })),
      app_launcher_visible: false,
      service_auth_401_redirect: true,
      policies: [{ id: policy.id ?? "", precedence: 1 }],
    },
    ONCE,
  );
}

export interface Cleaned {
  /** What would not go, in words. */
  readonly left: readonly string[];
  /** Runs whose things are there, and which may be at work: theirs are left alone. */
  readonly others: readonly string[];
}

/**
 * Removes whatever this run made, and those that are certainly over: hostnames first, what they lead to after. One thing that
 * fails keeps no other from going.
 */
export async function clean(lab: Lab): Promise<Cleaned> {
  const left: string[] = [];
  const others = new Set<string>();
  for (const { what, list, remove } of kindsOf(lab)) {
    try {
      for (const { id, run } of await list()) {
        if (run === null) continue;
        if (run === lab.run || overAt(run) <= lab.now) await unlessMissing(() => remove(id));
        else others.add(run);
      }
    } catch (error) {
      // A token that may not read these has made none.
      if (!(error instanceof APIError && error.status === 403)) left.push(`${what}: ${wordsOf(error)}`);
    }
  }
  return { left, others: [...others].sort() };
}

/** A kind of thing that runs make, and how all of one are found. */
interface Kind {
  readonly what: string;
  /** `run` null: it is no run's. */
  readonly list: () => Promise<readonly { readonly id: string; readonly run: string | null }[]>;
  readonly remove: (id: string) => PromiseLike<unknown>;
}

interface Named {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
}

async function namedOf(all: AsyncIterable<Named>) {
  const found = [];
  for await (const { id = "", name = "" } of all) found.push({ id, run: runIn(name, NAME) });
  return found;
}

function kindsOf(lab: Lab): readonly Kind[] {
  const { sweeper: sdk } = lab;
  const [account, zone, many] = [ofAccount(lab), ofZone(lab), { per_page: 1_000 }];
  const { access, tunnels } = sdk.zeroTrust;
  return [
    {
      what: "DNS records",
      list: async () => {
        const comment = { startswith: COMMENT.trim() };
        const { result } = await sdk.dns.records.list({ ...zone, comment, per_page: 1_000 });
        return result.map(({ id, comment: said }) => ({ id, run: runIn(said ?? "", COMMENT) }));
      },
      remove: (id) => sdk.dns.records.delete(id, zone),
    },
    {
      what: "Worker routes",
      list: async () => {
        const { result } = await sdk.workers.routes.list(zone);
        return result.map(({ id, pattern, script }) => ({ id, run: runOfRoute(lab, pattern, script) }));
      },
      remove: (id) => sdk.workers.routes.delete(id, zone),
    },
    {
      what: "the Worker",
      list: async () =>
        (await sdk.workers.scripts.list(account)).result.map(({ id = "" }) => ({ id, run: runIn(id, NAME) })),
      remove: (id) => sdk.workers.scripts.delete(id, account),
    },
    {
      what: "the Access application",
      list: () => namedOf(access.applications.list({ ...account, ...many })),
      remove: (id) => access.applications.delete(id, account),
    },
    {
      what: "the Access policy",
      list: () => namedOf(access.policies.list({ ...account, ...many })),
      remove: (id) => access.policies.delete(id, account),
    },
    {
      what: "the service token",
      list: () => namedOf(access.serviceTokens.list({ ...account, ...many })),
      remove: (id) => access.serviceTokens.delete(id, account),
    },
    {
      what: "the tunnel",
      list: () =>
        namedOf(tunnels.cloudflared.list({ ...account, include_prefix: NAME, is_deleted: false, ...many })),
      remove: (id) => tunnels.cloudflared.delete(id, account),
    },
  ];
}

const runOfRoute = ({ installation }: Lab, pattern: string, script = ""): string | null =>
  runIn(pattern, LABEL, `.${installation.slotZone.name}/*`) ?? runIn(script, NAME);

export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
