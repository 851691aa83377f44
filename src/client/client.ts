import { AccessoryCalls } from "./calls/accessories.ts";
import { AppCalls } from "./calls/apps.ts";
import { EnvironmentCalls } from "./calls/environments.ts";
import { HostnameCalls } from "./calls/hostnames.ts";
import { HostCalls } from "./calls/hosts.ts";
import { ImageCalls } from "./calls/images.ts";
import { InstallationCalls } from "./calls/installation.ts";
import { PeopleCalls } from "./calls/people.ts";
import { PreviewCalls } from "./calls/previews.ts";
import { ProcessCalls } from "./calls/processes.ts";
import { RegistryCalls } from "./calls/registries.ts";
import { ReleaseCalls } from "./calls/releases.ts";
import { SecretCalls } from "./calls/secrets.ts";
import { TokenCalls } from "./calls/tokens.ts";
import { TrustCalls } from "./calls/trusts.ts";
import { WebhookCalls } from "./calls/webhooks.ts";
import { ApiError } from "./errors.ts";
import type { ClientOptions } from "./transport.ts";
import { type Page, type PageQuery, Wire } from "./wire.ts";

/**
 * The API by its nouns, a method per endpoint. Every method throws ApiError (control said no), ConnectionError (nobody
 * knows what happened) or ProtocolError (that isn't Sluice).
 *
 *     const client = new Client({ url: "https://sluice.example.com", token: "slu_…" });
 *     const { environment } = await client.environments.get("shop", "production");
 */
export class Client {
  readonly apps: AppCalls;
  readonly environments: EnvironmentCalls;
  readonly releases: ReleaseCalls;
  readonly accessories: AccessoryCalls;
  readonly previews: PreviewCalls;
  readonly processes: ProcessCalls;
  readonly secrets: SecretCalls;
  readonly registries: RegistryCalls;
  readonly images: ImageCalls;
  readonly hostnames: HostnameCalls;
  readonly hosts: HostCalls;
  readonly tokens: TokenCalls;
  readonly trusts: TrustCalls;
  readonly people: PeopleCalls;
  readonly webhooks: WebhookCalls;
  readonly installation: InstallationCalls;

  constructor(options: ClientOptions) {
    const wire = new Wire(options);
    this.apps = new AppCalls(wire);
    this.environments = new EnvironmentCalls(wire);
    this.releases = new ReleaseCalls(wire);
    this.accessories = new AccessoryCalls(wire);
    this.previews = new PreviewCalls(wire);
    this.processes = new ProcessCalls(wire);
    this.secrets = new SecretCalls(wire);
    this.registries = new RegistryCalls(wire);
    this.images = new ImageCalls(options);
    this.hostnames = new HostnameCalls(wire);
    this.hosts = new HostCalls(wire);
    this.tokens = new TokenCalls(wire);
    this.trusts = new TrustCalls(wire);
    this.people = new PeopleCalls(wire);
    this.webhooks = new WebhookCalls(wire);
    this.installation = new InstallationCalls(wire);
  }
}

/** Walks a list's pages until `limit` items or the end. */
export async function collect<T>(
  list: (page: PageQuery) => Promise<Page<T>>,
  limit = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await list({ cursor, limit: Math.min(100, limit - items.length) });
    items.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined && items.length < limit);
  return items.slice(0, limit);
}

/** The answer to "is it not there?" without a try around every call. */
export const isProblem = (error: unknown, ...codes: readonly string[]): error is ApiError =>
  error instanceof ApiError && codes.includes(error.problem.code);
