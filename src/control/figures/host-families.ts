import { isOnline } from "../../domain/host-online.ts";
import { type HostFactsReport, hostFactsSchema } from "../../protocol/agent/host-facts.ts";
import type { MetricsRows } from "../store/figures/metrics.ts";
import type { Exposition } from "./exposition.ts";

type Host = MetricsRows["hosts"][number];
/** What an agent said within the last while. */
interface Told {
  readonly host: string;
  readonly facts: HostFactsReport;
}

/** Hosts, and what their agents and cloudflareds say of themselves: with their polls, so that no port of theirs is open. */
export function hostFamilies(out: Exposition, { hosts, outboxDepth }: MetricsRows, now: number): void {
  const up = out.family("host_up", "gauge", "Whether control hears from a host's agent.");
  const heard = out.family(
    "host_last_seen_timestamp_seconds",
    "gauge",
    "When control last heard from a host's agent.",
  );
  const versions = out.family("agents", "gauge", "Hosts by their agent's version.");
  const byVersion = Map.groupBy(hosts, ({ agentVersion }) => agentVersion);
  for (const { name, lastSeenAt } of hosts) {
    up.add(isOnline({ lastSeenAt }, now) ? 1 : 0, { host: name });
    if (lastSeenAt !== null) heard.add(lastSeenAt / 1_000, { host: name });
  }
  for (const [version, list] of byVersion) versions.add(list.length, { version });
  out.family("outbox_depth", "gauge", "Wake-ups of hosts that are not delivered yet.").add(outboxDepth);
  const told = hosts.filter((host) => isOnline(host, now)).flatMap(toldBy);
  diskFamilies(out, told);
  agentFamilies(out, told);
  engineFamilies(out, told);
  tunnelFamilies(out, told);
}

/** Of one that is silent nobody knows how it fares now. */
function toldBy({ name: host, facts }: Host): Told[] {
  const read = hostFactsSchema.safeParse(facts);
  return read.success ? [{ host, facts: read.data }] : [];
}

function diskFamilies(out: Exposition, told: readonly Told[]): void {
  const size = out.family(
    "host_disk_bytes",
    "gauge",
    "Size of the fuller of the file systems with the images and the agent's state.",
  );
  const free = out.family("host_disk_free_bytes", "gauge", "What is free of it.");
  const memory = out.family("host_memory_bytes", "gauge", "A host's memory.");
  const available = out.family(
    "host_memory_available_bytes",
    "gauge",
    "What programs could still have of it.",
  );
  for (const { host, facts } of told) {
    if (facts.disk) {
      size.add(facts.disk.totalBytes, { host });
      free.add(facts.disk.freeBytes, { host });
    }
    if (!facts.usage) continue;
    memory.add(facts.usage.memory.totalBytes, { host });
    available.add(facts.usage.memory.availableBytes, { host });
  }
}

function agentFamilies(out: Exposition, told: readonly Told[]): void {
  const uptime = out.family("agent_uptime_seconds", "gauge", "For how long a host's agent has run.");
  const resident = out.family("agent_resident_memory_bytes", "gauge", "Memory that a host's agent holds.");
  const jobs = out.family("agent_jobs_total", "counter", "Jobs that an agent ended since it started.");
  for (const { host, facts } of told) {
    if (!facts.usage) continue;
    uptime.add(facts.usage.uptimeMs / 1_000, { host });
    resident.add(facts.usage.agentBytes, { host });
    jobs.add(facts.usage.jobs.done, { host, outcome: "done" });
    jobs.add(facts.usage.jobs.failed, { host, outcome: "failed" });
  }
}

function engineFamilies(out: Exposition, told: readonly Told[]): void {
  const latency = out.family(
    "engine_latency_seconds",
    "gauge",
    "How long a host's Docker engine last needed to answer what it is.",
  );
  const containers = out.family("engine_containers", "gauge", "All containers of a host's engine, by state.");
  for (const { host, facts } of told) {
    if (facts.usage?.engineMs !== undefined) latency.add(facts.usage.engineMs / 1_000, { host });
    for (const [state, count] of Object.entries(facts.usage?.containers ?? {}))
      containers.add(count, { host, state });
  }
}

function tunnelFamilies(out: Exposition, told: readonly Told[]): void {
  const up = out.family("tunnel_up", "gauge", "Whether a host's cloudflared is connected to Cloudflare.");
  const connections = out.family("tunnel_connections", "gauge", "Connections of it to Cloudflare.");
  const requests = out.family(
    "tunnel_requests_total",
    "counter",
    "Requests that a host's cloudflared carried since it started.",
  );
  const errors = out.family(
    "tunnel_request_errors_total",
    "counter",
    "Those of them that failed between cloudflared and the app.",
  );
  for (const { host, facts } of told) {
    if (facts.tunnel) up.add(facts.tunnel.state === "connected" ? 1 : 0, { host });
    if (facts.tunnel?.readyConnections !== undefined)
      connections.add(facts.tunnel.readyConnections, { host });
    if (!facts.usage?.cloudflared) continue;
    requests.add(facts.usage.cloudflared.requests, { host });
    errors.add(facts.usage.cloudflared.errors, { host });
  }
}
