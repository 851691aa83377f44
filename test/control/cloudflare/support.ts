import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect } from "vitest";
import { HOSTNAMES, tendHostnames } from "../../../src/control/cloudflare/tend-hostnames.ts";
import { hostSchema } from "../../../src/protocol/api/hosts.ts";
import type { Backstage } from "../../support/cloudflare/global-setup.ts";
import type { LoggedCall } from "../../support/cloudflare/server.ts";
import type { World } from "../../support/cloudflare/world.ts";
import { waitFor } from "../../support/patience.ts";
import { Api } from "../support/api.ts";
import { Invocation } from "../support/invocation.ts";
import * as world from "../support/world.ts";

type Look = Pick<
  World,
  "zones" | "records" | "tunnels" | "routes" | "accessApps" | "accessPolicies" | "serviceTokens"
> & { readonly log: LoggedCall[] };

/** What one test left in the isolate's memory is long over in the next. */
let opened = 0;

/** A control that is bound to the stand-in of Cloudflare, and what a test does on both sides. */
export class Account {
  readonly api = new Api();

  /** Its public hostnames are tended at once, at the test's own time. */
  private constructor() {
    const tend = () => this.tendHostnames();
    const getByName = (name: string) => (name === HOSTNAMES ? { tend } : env.HOST_LINK.getByName(name));
    Object.assign(this.api.env, { HOST_LINK: { getByName } });
  }

  static async open(options: (Backstage & { do: "reset" })["options"] = {}): Promise<Account> {
    await world.emptyWorld();
    const account = new Account();
    opened += 1;
    account.api.time += opened * 3_600_000;
    await account.stage({ do: "reset", options });
    return account;
  }

  /** What the hostnames' object does by its alarm, each ring an invocation of its own. */
  async tendHostnames(): Promise<void> {
    for (let next: number | null = 0; next !== null; )
      next = await new Invocation().run(() => tendHostnames(this.api.env, this.api.time));
  }

  async stage(act: Backstage): Promise<Look> {
    const url = (env as unknown as { BACKSTAGE: string }).BACKSTAGE;
    const response = await fetch(url, { method: "POST", body: JSON.stringify(act) });
    return response.json();
  }

  look = () => this.stage({ do: "look" });

  /** Method, path and status of each call since `from`, with ids shortened to what they are. */
  async calls(from = 0): Promise<string[]> {
    const { log, zones, tunnels } = await this.look();
    const names = [
      ...zones.map(({ id, name }) => [id, `{${name}}`] as const),
      ...tunnels.map(({ id }) => [id, "{tunnel}"] as const),
      [env.CLOUDFLARE_ACCOUNT_ID ?? "", "{account}"] as const,
    ];
    return log.slice(from).map(({ method, path, status }) => {
      const short = names.reduce((text, [id, name]) => text.replaceAll(id, name), decodeURIComponent(path));
      return `${method} ${short} ${status}`;
    });
  }

  /** Enrols a host without an address of its own. */
  async enroll(name = "web-1", slots = 2) {
    const made = await this.api.post("/api/v1/hosts/enrollments", { name, slots });
    const { token } = await made.json<{ token: string }>();
    const { originBase: _, ...body } = world.enrollBody(token);
    const response = await this.api.post("/agent/v1/enroll", body, { token: null });
    if (!response.ok) throw new Error(await response.text());
    return response.json<Awaited<ReturnType<typeof world.enrolled>>>();
  }

  async tunnel(name = "web-1") {
    return hostSchema.parse(await (await this.api.get(`/api/v1/hosts/${name}`)).json()).tunnel;
  }

  /** Rows of a host's tunnel, also after the host was removed. */
  async row(hostId: string) {
    return env.DB.prepare("SELECT state, cause, attempts FROM tunnels WHERE host_id = ?")
      .bind(hostId)
      .first<{ state: string; cause: string | null; attempts: number }>();
  }

  async ledger(): Promise<{ kind: string; name: string; remote_id: string | null }[]> {
    const { results } = await env.DB.prepare(
      "SELECT kind, name, remote_id FROM cloudflare_resources ORDER BY id",
    ).all<{ kind: string; name: string; remote_id: string | null }>();
    return results;
  }

  async events(type: string): Promise<string[]> {
    const { results } = await env.DB.prepare("SELECT message FROM events WHERE type = ? ORDER BY id")
      .bind(type)
      .all<{ message: string }>();
    return results.map(({ message }) => message);
  }

  /** The alarm of the host's object rings now, and again, until its tunnel has reached the state. */
  async settle(hostId: string, state: string): Promise<void> {
    for (let run = 0; run < 20; run += 1) {
      if ((await this.row(hostId))?.state === state) return;
      await runDurableObjectAlarm(env.HOST_LINK.getByName(hostId));
    }
    expect(await this.row(hostId)).toMatchObject({ state });
  }

  /** The first run, which begins by itself, has failed and said why. */
  async failedOnce(hostId: string): Promise<string> {
    await waitFor(async () => expect((await this.row(hostId))?.cause).toBeTruthy());
    return (await this.row(hostId))?.cause ?? "";
  }
}
