import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { openDb } from "../../../src/control/store/db.ts";
import { commit } from "../../../src/control/store/decisions.ts";
import { loadEnvironment } from "../../../src/control/store/environments.ts";
import { Draft } from "../../../src/domain/rollout/draft.ts";
import { whyNotNamed } from "../../../src/domain/rollout/host-header.ts";
import type { IngressRule } from "../../../src/domain/tunnel.ts";
import * as world from "../support/world.ts";
import { Account } from "./support.ts";

/** What an app behind a tunnel gets as `Host`, and who has that written, when. */
let account: Account;
let host: Awaited<ReturnType<Account["enroll"]>>;
beforeEach(async () => {
  account = await Account.open();
  host = await account.enroll();
  await account.settle(host.host.id, "ready");
});

const names = async () => {
  const { tunnels } = await account.look();
  const config = tunnels[0]?.config.config as { ingress: IngressRule[] } | undefined;
  return config?.ingress.map(({ originRequest }) => originRequest?.httpHostHeader ?? null);
};
/** As its agent says of it. */
const runs = (configVersion: number) =>
  env.DB.prepare("UPDATE hosts SET facts = ?")
    .bind(JSON.stringify({ tunnel: { state: "connected", configVersion } }))
    .run();

/** Makes D1 say that the app has this hostname. */
async function apply(hostname: string): Promise<string> {
  const text = world.manifest("shop").replace("[shop.example.com]", `[${hostname}]`);
  const response = await account.api.apply("shop", text);
  if (!response.ok) throw new Error(await response.text());
  const row = await env.DB.prepare("SELECT id FROM environments").first<{ id: string }>();
  return row?.id ?? "";
}

const db = openDb(env.DB);
async function facts(environment: string) {
  const loaded = await loadEnvironment(db, environment);
  if (!loaded) throw new Error(`no environment ${environment}`);
  return loaded.facts;
}
const whyNot = async (environment: string) => {
  const [instance] = (await facts(environment)).instances;
  return instance ? whyNotNamed(instance) : "no instance";
};

/** A release's decision takes the first slot, as the coordinator writes it. */
async function reserve(environment: string, version = "v1"): Promise<void> {
  const id = await world.release(environment, { version, state: "starting" });
  const now = account.api.time;
  const current = await facts(environment);
  const draft = new Draft(current, now);
  const release = current.releases.find((one) => one.id === id);
  if (!release) throw new Error(`no release ${id}`);
  const slot = {
    hostId: host.host.id,
    hostName: "web-1",
    slotId: `${host.host.id}/0`,
    slot: 0,
    hostPort: 20_000,
  };
  draft.addInstance(release, slot, "starting");
  const written = await commit(db, { facts: current, decision: draft.decision, fence: current.fence, now });
  expect(written.ok).toBe(true);
}
const tended = async () => {
  const link = env.HOST_LINK.getByName(host.host.id);
  await link.tend(host.host.id);
  await runDurableObjectAlarm(link);
};

describe("an app behind a tunnel", () => {
  it("is known by its public name before it is asked anything, and no further release writes a rule", async () => {
    expect(await names()).toEqual([null, null, null]);
    const shop = await apply("shop.example.com");
    await reserve(shop);
    expect(await whyNot(shop)).toMatch(/is being told that this slot is shop\.example\.com/);
    await tended();
    expect(await names()).toEqual(["shop.example.com", null, null]);
    await runs(1);
    expect(await whyNot(shop)).toMatch(
      /not yet told the tunnel of web-1 that this slot is shop\.example\.com/,
    );
    await runs(2);
    expect(await whyNot(shop)).toBeNull();

    await env.DB.prepare("UPDATE instances SET stopped_at = 1, state = 'stopped'").run();
    const calls = (await account.calls()).length;
    await reserve(shop, "v2");
    expect(await whyNot(shop)).toBeNull();
    await tended();
    expect(await account.calls(calls)).toEqual([]);
  });

  it("waits, and says for what, while its slot has the name of the app before it and Cloudflare refuses", async () => {
    await env.DB.prepare("UPDATE slots SET public_host = 'old.example.com', rule_version = 1").run();
    const shop = await apply("shop.example.com");
    await reserve(shop);
    await account.stage({ do: "fail", fault: { method: "PUT", answer: 500, times: 1 } });
    await tended();
    expect(await whyNot(shop)).toMatch(/is being told that this slot is shop\.example\.com/);
    expect((await account.row(host.host.id))?.cause).toMatch(/refused to write the ingress/);
    await env.DB.prepare("UPDATE tunnels SET next_attempt_at = 1").run();
    await tended();
    expect(await names()).toEqual(["shop.example.com", "old.example.com", null]);
    expect(await account.row(host.host.id)).toEqual({ state: "ready", cause: null, attempts: 0 });
  });

  it("follows when the first hostname of its environment is another", async () => {
    const shop = await apply("shop.example.com");
    await reserve(shop);
    await tended();
    await apply("store.example.com");
    await tended();
    expect(await names()).toEqual(["store.example.com", null, null]);
  });
});
