import { dataSize } from "../../domain/data-size.ts";
import type { HostView } from "../../protocol/api/hosts.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { everything } from "../identity/roles.ts";
import { listHosts } from "../store/hosts.ts";
import { hostView } from "../views/rows.ts";
import { page } from "./layout.tsx";
import { Ago, Name, SplitBar, State, Table, type Tone, toneOf } from "./pieces.tsx";

const MOST = 500;
/** With less left the next image may not fit. */
const LOW_DISK = 0.1;

/** The machines: who is there, what is free, how they are reached. */
export async function hostsPage(c: AppContext): Promise<Response> {
  authorize(c, everything("viewer"));
  const now = c.var.now();
  const hosts = (await listHosts(c.var.db, { after: null, limit: MOST })).map((host) => hostView(host, now));
  hosts.sort((a, b) => Number(needsLook(b)) - Number(needsLook(a)) || BY_NAME.compare(a.name, b.name));
  const says = sentence(hosts);
  return page(c, {
    title: "Hosts · Sluice",
    section: "/ui/hosts",
    live: { feed: null, says },
    children: (
      <>
        <h1>Hosts</h1>
        <p class="lead">{says}</p>
        <Table
          label="Hosts"
          stacks
          heads={["host", "state", "slots", "tunnel", "disk and memory", "agent"]}
          none={
            <>
              No host yet: <code>{"sluice hosts add <name>"}</code> says how.
            </>
          }
        >
          {hosts.map((host) => (
            <Row host={host} now={now} />
          ))}
        </Table>
      </>
    ),
  });
}

/** `web-2` before `web-10`. */
const BY_NAME = new Intl.Collator("en", { numeric: true });

/** They stand first. */
const needsLook = ({ state, drain, aside, facts }: HostView): boolean =>
  state !== "online" || drain !== null || aside.length > 0 || isLow(facts?.disk);

function sentence(hosts: readonly HostView[]): string {
  const offline = hosts.filter(({ state }) => state !== "online").length;
  const all = `${hosts.length === MOST ? "the first " : ""}${hosts.length} ${hosts.length === 1 ? "host" : "hosts"}`;
  return offline === 0
    ? `${all}, all online`
    : `${offline} of ${all} ${offline === 1 ? "is" : "are"} offline`;
}

const Row = ({ host, now }: { host: HostView; now: number }) => (
  <tr>
    <th scope="row">{host.name}</th>
    <td>
      <State tone={host.drain ? "warn" : toneOf(host.state)}>{host.drain ? "draining" : host.state}</State>
      <div class="soft">
        {host.lastSeenAt === null ? "never heard from" : <Ago at={host.lastSeenAt} now={now} />}
      </div>
      {host.state !== "online" && (
        <div>
          look there: <code>journalctl -u sluice-agent</code>
        </div>
      )}
    </td>
    <td class="whole-row">
      {host.slots.used} of {host.slots.total} used
      {host.slots.reserved > 0 && `, ${host.slots.reserved} reserved`}
      <SplitBar
        shares={[
          { version: "", weight: share(host.slots.used, host.slots.total), fill: 1 },
          { version: "", weight: share(host.slots.reserved, host.slots.total), fill: 0 },
        ]}
      />
      {host.aside.map(({ slot, cause }) => (
        <div class="warn">
          slot {slot}: <Name>{cause}</Name>
        </div>
      ))}
    </td>
    <td data-label="tunnel">
      <Tunnel host={host} />
    </td>
    <td data-label="disk">
      <Disk host={host} />
      <Memory host={host} />
    </td>
    <td data-label="agent">
      {host.agentVersion}
      <div class="soft">
        {host.runtime}
        {host.facts?.engine?.version ? ` ${host.facts.engine.version}` : ""}
        <Engine host={host} />
      </div>
    </td>
  </tr>
);

const share = (part: number, all: number) => (all === 0 ? 0 : (part / all) * 100);

const Tunnel = ({ host: { tunnel, facts } }: { host: HostView }) => {
  if (!tunnel) return <span class="soft">none, by its own address</span>;
  const seen = facts?.tunnel;
  const carried = facts?.usage?.cloudflared;
  const isUp = tunnel.state === "ready" && seen?.state === "connected";
  const tone: Tone = isUp ? "ok" : seen?.state === "down" ? "bad" : "moving";
  return (
    <>
      <State tone={tone}>{seen?.state ?? tunnel.state}</State>
      <div class="soft">
        <Name>{tunnel.cause ?? seen?.cause ?? `${seen?.readyConnections ?? 0} connections`}</Name>
      </div>
      {carried && (
        <div class="soft">
          {carried.requests.toLocaleString("en")} requests, {carried.errors.toLocaleString("en")} failed
        </div>
      )}
    </>
  );
};

const isLow = (disk: { freeBytes: number; totalBytes: number } | undefined): boolean =>
  disk !== undefined && disk.freeBytes < disk.totalBytes * LOW_DISK;

const Disk = ({ host: { facts } }: { host: HostView }) => {
  if (!facts?.disk) return <span class="soft">unknown</span>;
  const { freeBytes, totalBytes } = facts.disk;
  return (
    <State tone={isLow(facts.disk) ? "warn" : "ok"}>
      {dataSize(freeBytes)} of {dataSize(totalBytes)} free
    </State>
  );
};

const Memory = ({ host: { facts, state } }: { host: HostView }) => {
  if (!facts?.usage || state !== "online") return null;
  const { availableBytes, totalBytes } = facts.usage.memory;
  return (
    <div class="soft">
      {dataSize(availableBytes)} of {dataSize(totalBytes)} memory free
    </div>
  );
};

/** How quick its engine is, what runs there, and what its agent did. */
const Engine = ({ host: { facts, state } }: { host: HostView }) => {
  if (!facts?.usage || state !== "online") return null;
  const { engineMs, containers, jobs } = facts.usage;
  return (
    <>
      {engineMs !== undefined && <div>answers in {engineMs} ms</div>}
      {containers && (
        <div>
          {containers.running} running, {containers.stopped} stopped
        </div>
      )}
      <div>
        {jobs.done} jobs done, {jobs.failed} failed
      </div>
    </>
  );
};
