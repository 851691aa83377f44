import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { and, asc, eq, inArray, isNull } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import type { Coordinator } from "../../../src/control/environment/coordinator.ts";
import type { FaultPoint } from "../../../src/control/environment/loop.ts";
import { apps } from "../../../src/control/store/schema/apps.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { slots } from "../../../src/control/store/schema/slots.ts";
import type { ReleaseState } from "../../../src/domain/rollout/release.ts";
import type { MeterBatch } from "../../../src/domain/routing/meter.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import { aSpec, DIGEST } from "../../domain/rollout/spec.ts";
import { meterOf } from "./meter.ts";
import { emptyWorld } from "./world.ts";
export const ENVIRONMENT = "env_1";
export const HOSTNAME = "shop.example.com";
const REQUEST = {
  image: null,
  version: null,
  git: null,
  whenBusy: "queue",
  actor: "ci",
  requestKey: null,
  hold: false,
  override: false,
} as const;

/** An environment with two hosts on the real D1, its real coordinator, and hands that do the agents' work. */
export class Stage {
  readonly db = drizzle(env.DB);
  /** What is added to the coordinator's clock. */
  ahead = 0;
  /** How often it waited for the coordinator's turns: one load each. */
  waits = 0;
  /** Where the coordinator's clock stands still; null: it goes with the time. */
  at: number | null = null;

  /** A fresh one. The instances answer wherever they are asked, unless `silent` names their release. */
  static async open(spec: Partial<EnvironmentSpec> = {}): Promise<Stage> {
    const stage = new Stage();
    await emptyWorld();
    await stage.#fill(aSpec(spec));
    return stage;
  }

  async #fill(spec: EnvironmentSpec): Promise<void> {
    const now = Date.now();
    const row = {
      id: ENVIRONMENT,
      appId: "app_1",
      name: "production",
      spec,
      rev: 0,
      fence: 0,
      nextVersion: 1,
    };
    const rest = { salt: "s", previewKey: "00", mode: { kind: "open" }, createdAt: now } as const;
    const app = { id: "app_1", name: "shop", manifest: "", createdAt: now, updatedAt: now };
    await this.db.batch([
      this.db.insert(apps).values(app),
      this.db.insert(environments).values({ ...row, ...rest }),
      ...["anna", "bert"].flatMap((name) => this.#host(name, now)),
    ]);
  }

  #host(name: string, now: number) {
    const about = { labels: {}, runtime: "docker", agentVersion: "1", lastSeenAt: now + 86_400_000 } as const;
    const slot = (n: number) => ({
      ...{ id: `host_${name}/${n}`, hostId: `host_${name}`, n, hostPort: 20_000 + n },
      origin: `http://${name}-${n}.test`,
    });
    return [
      this.db.insert(hosts).values({ id: `host_${name}`, name, ...about, createdAt: now }),
      this.db.insert(slots).values([0, 1, 2, 3, 4, 5].map(slot)),
    ];
  }

  /** Time that passes is time in which control was gone. */
  wasAway = false;

  /** The very object: control itself knows no more of it than its port. */
  get coordinator(): DurableObjectStub<Coordinator> {
    return env.COORDINATOR.getByName(ENVIRONMENT) as unknown as DurableObjectStub<Coordinator>;
  }

  inside<T>(work: (coordinator: Coordinator, state: DurableObjectState) => T | Promise<T>): Promise<T> {
    return runInDurableObject(this.coordinator, async (instance, state) => {
      const { ahead, at } = this;
      // A test's clock jumps where control would have been there all the time.
      if (!this.wasAway) await state.storage.delete("ticked");
      instance.clock = () => at ?? Date.now() + ahead;
      return work(instance, state);
    });
  }

  /** What the edge counted reaches the meter at the coordinator's time. */
  async absorb(batch: MeterBatch): Promise<void> {
    const { ahead, at } = this;
    await this.absorbAll([{ clock: () => at ?? Date.now() + ahead, batch }]);
  }

  /** Several batches of one data centre, in one go. */
  async absorbAll(batches: readonly { readonly clock: () => number; readonly batch: MeterBatch }[]) {
    const [{ environment = ENVIRONMENT, colo = "" } = {}] = batches.map(({ batch }) => batch);
    await runInDurableObject(meterOf(environment, colo), async (meter) => {
      meter.gatherMs = 0;
      for (const { clock, batch } of batches) {
        meter.clock = clock;
        await meter.absorb(batch);
      }
    });
  }

  /** The process of the coordinator ends; the next call meets a fresh one. What it is in the middle of is waited for. */
  async kill(): Promise<void> {
    for (let tries = 0; tries < 10; tries++) {
      const isEvicted = await evictDurableObject(this.coordinator).then(
        () => true,
        (error: Error) => {
          if (/not currently running/.test(error.message)) return true;
          if (/still has active references/.test(error.message)) return false;
          throw error;
        },
      );
      if (isEvicted) return;
    }
    throw new Error("the coordinator is at work without an end");
  }

  /** Ends the work at this point the n-th time it is passed. */
  async failAt(point: FaultPoint, nth = 1): Promise<void> {
    let passed = 0;
    await this.inside((coordinator) => {
      coordinator.fault = (at) => {
        if (at === point && ++passed === nth) throw new Error(`ended: ${point}`);
      };
    });
  }

  async create(input: Partial<Parameters<Coordinator["createRelease"]>[0]> = {}) {
    if (this.at !== null) await this.inside(() => {});
    return this.coordinator.createRelease({ ...REQUEST, ...input });
  }

  /** Each open job is done, as the agents would. Answers how many. */
  async work(): Promise<number> {
    const open = await this.db.select().from(jobs).where(isNull(jobs.finishedAt));
    await this.#done(open);
    return open.length;
  }

  /** In one trip: half of what a test costs here are its trips. */
  async #done(open: readonly (typeof jobs.$inferSelect)[]): Promise<void> {
    const result = { image: `ghcr.io/acme/shop@${DIGEST}`, digest: DIGEST };
    const done = { state: "done", result, finishedAt: Date.now() } as const;
    const started = open.flatMap(({ kind, instanceId }) => (kind === "start" && instanceId) || []);
    if (open.length === 0) return;
    await this.db.batch([
      this.db
        .update(jobs)
        .set(done)
        .where(
          and(
            inArray(
              jobs.id,
              open.map(({ id }) => id),
            ),
            isNull(jobs.finishedAt),
          ),
        ),
      this.db.update(instances).set({ reportState: "ready" }).where(inArray(instances.id, started)),
    ]);
  }

  /** Agents and alarm take turns until the release is in the state. */
  async until(version: string, state: ReleaseState): Promise<void> {
    for (let turn = 0; turn < 60; turn++) {
      await this.#turnsEnd();
      const [found, open] = await this.db.batch([
        this.db.select({ state: releases.state }).from(releases).where(eq(releases.version, version)),
        this.db.select().from(jobs).where(isNull(jobs.finishedAt)),
      ]);
      if (found[0]?.state === state) return;
      await this.#done(open);
      await this.inside(() => {});
      if (!(await runDurableObjectAlarm(this.coordinator))) await this.coordinator.poke();
    }
    const release = await this.release(version);
    throw new Error(`${version} never got ${state}: ${release.state} ${JSON.stringify(release.failure)}`);
  }

  /** What the coordinator is at is over: a command, be it refused, waits for its turn. */
  async #turnsEnd(): Promise<void> {
    this.waits += 1;
    await this.coordinator.abort({ release: "rel_none", actor: "ann", reason: null }).catch(() => {});
  }

  async deploy(): Promise<string> {
    const made = await this.create();
    if (!made.ok) throw new Error(made.error.detail);
    const row = (await this.releases()).find(({ id }) => id === made.value.release);
    await this.until(row?.version ?? "", "settling");
    return made.value.release;
  }

  /** The hosts were heard from just before, by the coordinator's clock. */
  async lookAlive(now: number): Promise<void> {
    await this.db.update(hosts).set({ lastSeenAt: now });
  }
  async makeStable(release: string): Promise<void> {
    await this.db.update(environments).set({ stableReleaseId: release });
  }
  async table() {
    const answer = await this.coordinator.table(HOSTNAME, null);
    if (answer.kind !== "table") throw new Error(`no table: ${answer.kind}`);
    return answer.table;
  }

  releases() {
    return this.db.select().from(releases).orderBy(asc(releases.createdAt), asc(releases.version));
  }
  async release(version: string) {
    const found = (await this.releases()).find((release) => release.version === version);
    if (!found) throw new Error(`no release ${version}`);
    return found;
  }
  slots() {
    return this.db.select().from(slots).orderBy(asc(slots.id));
  }
  instances() {
    return this.db.select().from(instances).orderBy(asc(instances.id));
  }
  jobs() {
    return this.db.select().from(jobs).orderBy(asc(jobs.id));
  }
  /** Each release's share in the published table. */
  async routed(): Promise<{ version: number; weights: Record<string, number> }> {
    const table = await this.table();
    const some = table.releases.filter(({ weightBp }) => weightBp > 0);
    const weights = Object.fromEntries(some.map((release) => [release.version, release.weightBp]));
    return { version: table.version, weights };
  }
}
