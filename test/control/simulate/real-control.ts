import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { asc, eq, getTableColumns, inArray, isNull, sql } from "drizzle-orm";
import type { Coordinator } from "../../../src/control/environment/coordinator.ts";
import { leaseForPoll } from "../../../src/control/hosts/lease-jobs.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { finishJob } from "../../../src/control/store/jobs.ts";
import { reconcile, writeReports } from "../../../src/control/store/reports.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { slots } from "../../../src/control/store/schema/slots.ts";
import { DIGEST } from "../../domain/rollout/spec.ts";
import type { ControlPort, Inventory, LeasedJob, Outcome, Report } from "../../simulate/control/port.ts";
import { Store } from "../../simulate/control/store.ts";
import type { World } from "../../simulate/world.ts";
import { ENVIRONMENT, Stage } from "../support/stage.ts";

/** A tick comes so long after a poke, as in the double. */
const POKED_MS = 10;
const MOST_ROUNDS = 100;
const TAKES = ["pull", "start", "stop", "run"] as const;

/** The real coordinator over D1, in virtual time: a tick happens when the world's clock says so, and is over before time goes on. */
export class RealControl implements ControlPort {
  isUp = true;
  table: undefined;
  /** What D1 holds, as read after each tick. */
  readonly store = new Store();
  readonly #world: World;
  readonly #db = openDb(env.DB);
  readonly #leases = new Map<string, string>();
  readonly #woken = new Set<string>();
  /** Hosts with jobs to do; and how many reports each had sent when its inventory was last held against D1. */
  #open = new Set<string>();
  readonly #inventories = new Map<string, number>();
  #toAdd: { name: string; slots: number }[] = [];
  #isPoked = false;
  readonly #beside: Promise<unknown>[] = [];
  #alarm = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** An empty database with the scenario's environment. */
  static async prepare(world: World): Promise<void> {
    const stage = await Stage.open(world.scenario.spec);
    await stage.db.delete(slots);
    await stage.db.delete(hosts);
  }

  get now(): number {
    return this.#world.clock.now;
  }
  jump(): void {
    throw new Error("no plain story moves a clock");
  }

  get coordinator(): DurableObjectStub<Coordinator> {
    // Bound by its port; this is the class behind it.
    return env.COORDINATOR.getByName(ENVIRONMENT) as unknown as DurableObjectStub<Coordinator>;
  }

  poke(): void {
    if (this.#isPoked) return;
    this.#isPoked = true;
    this.#world.clock.after(POKED_MS, async () => {
      this.#isPoked = false;
      await this.advance();
    });
  }

  /** Before anything is asked of it: it has the world's time, and the hosts that were added. */
  async settle(): Promise<void> {
    await this.#addHosts();
    await runInDurableObject(this.coordinator, (coordinator, state) => this.#settled(coordinator, state));
  }

  #settled(coordinator: Coordinator, state: DurableObjectState): void {
    coordinator.clock = () => this.now;
    // What it asks beside its turn: no time passes before it has been answered and written.
    state.waitUntil = (work) => void this.#beside.push(work);
  }

  /** Ticks, with all that it asks beside its turn, until nothing is due. */
  async advance(): Promise<void> {
    await this.#addHosts();
    const alarmAt = await runInDurableObject(this.coordinator, async (coordinator, state) => {
      this.#settled(coordinator, state);
      await coordinator.poke();
      for (let rounds = 0; this.#beside.length > 0; rounds++) {
        if (rounds === MOST_ROUNDS) throw new Error("the coordinator does not come to rest");
        await Promise.all(this.#beside.splice(0));
      }
      return state.storage.getAlarm();
    });
    await this.#look(alarmAt);
  }

  /** What the coordinator's probes and smoke checks are answered. */
  async answer(url: string): Promise<Response> {
    const { origin, pathname } = new URL(url);
    const row = this.store.instances.find((one) => one.origin === origin && one.stoppedAt === null);
    if (!row || !this.#world.isReachable(row.id)) return new Response("", { status: 530 });
    if (pathname !== "/") return new Response("ok");
    const release = await this.#db.select().from(releases).where(eq(releases.id, row.releaseId)).get();
    const when = release?.state === "settling" ? "after" : "before";
    return new Response("", { status: this.#world.appOf(row.releaseId).smoke === `bad ${when}` ? 500 : 200 });
  }

  async #look(alarmAt: number | null): Promise<void> {
    const [environment, releaseRows, instanceRows, open] = await this.#db.batch([
      this.#db.select().from(environments),
      this.#db.select().from(releases).orderBy(asc(releases.createdAt), releases.id),
      this.#db
        .select({
          ...getTableColumns(instances),
          slotId: sql<string>`${instances.slotId}`.as("instance_slot"),
          hostName: sql<string>`${hosts.name}`.as("host_name"),
          hostSeenAt: sql<number | null>`${hosts.lastSeenAt}`.as("host_seen_at"),
          slot: sql<number>`${slots.n}`.as("slot_n"),
          hostPort: slots.hostPort,
          origin: slots.origin,
        })
        .from(instances)
        .innerJoin(slots, eq(slots.id, instances.slotId))
        .innerJoin(hosts, eq(hosts.id, instances.hostId)),
      this.#db.select().from(jobs).where(isNull(jobs.finishedAt)),
    ]);
    this.store.stable = environment[0]?.stableReleaseId ?? null;
    this.store.releases = releaseRows;
    this.store.instances = instanceRows.map((row) => ({ ...row, hostRemoved: false }));
    this.#world.noteShares();
    this.#open = new Set(open.map(({ hostId }) => hostId));
    for (const { id, hostId } of open) {
      if (this.#woken.has(id)) continue;
      this.#woken.add(id);
      this.#world.hostById(hostId)?.wake();
    }
    const alarm = ++this.#alarm;
    if (alarmAt !== null)
      this.#world.clock.at(alarmAt, async () => {
        if (alarm === this.#alarm) await this.advance();
      });
  }

  // --- hosts ------------------------------------------------------------------------------------------------------------

  addHost(name: string, count: number): void {
    this.#toAdd.push({ name, slots: count });
  }

  async #addHosts(): Promise<void> {
    for (const { name, slots: count } of this.#toAdd.splice(0)) {
      const about = { labels: {}, runtime: "docker", agentVersion: "1", createdAt: this.now } as const;
      await this.#db.insert(hosts).values({ id: `host-${name}`, name, lastSeenAt: this.now, ...about });
      const slot = (_: unknown, n: number) => ({
        ...{ id: `${name}/${n}`, hostId: `host-${name}`, n, hostPort: 20_000 + n },
        origin: `http://${name}.test:${20_000 + n}`,
      });
      // One at a time: D1 binds a hundred values at most.
      for (const row of Array.from({ length: count }, slot)) await this.#db.insert(slots).values(row);
    }
  }

  removeHost(): void {
    throw new Error("no plain story removes a host");
  }

  async poll(hostId: string, boot: string, inventory: Inventory): Promise<LeasedJob[]> {
    await this.#addHosts();
    const { now } = this;
    await this.#db.update(hosts).set({ lastSeenAt: now }).where(eq(hosts.id, hostId));
    if (!this.#open.has(hostId) && this.#inventories.get(hostId) === inventory.seq) return [];
    this.#inventories.set(hostId, inventory.seq);
    const listed = [...inventory.instances].map(([instance, report]) => toWire(instance, report));
    const by = { hostId, boot, now, clockSkewMs: 0 };
    const touched = await reconcile(this.#db, by, { seq: inventory.seq, instances: listed });
    const leased = await leaseForPoll(
      { db: this.#db, env },
      { hostId, boot, now, takes: TAKES, jobs: inventory.jobs },
    );
    if (touched.length + leased.touched.length > 0) this.poke();
    if (leased.jobs.length === 0) return [];
    const ids = leased.jobs.map(({ id }) => id);
    const rows = await this.#db
      .select({ job: jobs, slotId: instances.slotId })
      .from(jobs)
      .leftJoin(instances, eq(instances.id, jobs.instanceId))
      .where(inArray(jobs.id, ids))
      .orderBy(asc(jobs.createdAt), sql`${jobs}.rowid`);
    return rows.flatMap(({ job, slotId }) => this.#toLeased(job, slotId));
  }

  #toLeased(job: typeof jobs.$inferSelect, slotId: string | null): LeasedJob[] {
    const { id, kind, releaseId, instanceId, lease, hostId, deadlineAt } = job;
    if (kind === "accessory" || kind === "logs" || kind === "command" || releaseId === null || lease === null)
      return [];
    this.#leases.set(lease, hostId);
    return [{ id, kind, releaseId, instanceId, slotId, worker: null, run: null, lease, deadlineAt }];
  }

  async done(job: string, lease: string, outcome: Outcome): Promise<"done" | "lease lost"> {
    const held = { job, hostId: this.#leases.get(lease) ?? "", lease, now: this.now };
    const result = { image: `ghcr.io/acme/shop@${DIGEST}`, digest: DIGEST };
    const told =
      "ok" in outcome
        ? ({ ok: true, result } as const)
        : ({ ok: false, error: { ...outcome.error } } as const);
    if ((await finishJob(this.#db, held, told)) === undefined) return "lease lost";
    this.poke();
    return "done";
  }

  async report(hostId: string, boot: string, instance: string, report: Report): Promise<boolean> {
    const by = { hostId, boot, now: this.now, clockSkewMs: 0 };
    const touched = await writeReports(this.#db, by, [toWire(instance, report)]);
    if (touched?.length) this.poke();
    return true;
  }
}

const toWire = (instance: string, { cause, ...report }: Report) => ({
  instance,
  ...report,
  ...(cause === null ? {} : { cause }),
});
