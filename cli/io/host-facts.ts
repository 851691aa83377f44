import { dataSize } from "../../src/domain/data-size.ts";
import type { HostView } from "../../src/protocol/api/hosts.ts";
import { clean } from "./print.ts";

type Facts = NonNullable<HostView["facts"]>;

/** What a host says of itself, as rows. All of it is the host's own text. */
export function factRows(facts: HostView["facts"]): [string, string | undefined][] {
  if (!facts) return [];
  const rows: [string, string | undefined][] = [
    ["system", `${facts.os} ${facts.arch}, node ${facts.node}`],
    ["docker", facts.engine && engineText(facts.engine)],
    ["disk", facts.disk && diskText(facts.disk)],
    ["policy", facts.policy && policyText(facts.policy)],
    ["tunnel", facts.tunnel && tunnelText(facts.tunnel)],
    ["fares", facts.usage && usageText(facts.usage)],
  ];
  return rows.map(([name, text]) => [name, text && clean(text)]);
}

function engineText({ version, apiVersion, storageDriver, problem }: NonNullable<Facts["engine"]>): string {
  const known = [version, apiVersion && `API ${apiVersion}`, storageDriver].filter(Boolean).join(", ");
  return problem ? `${known && `${known}: `}${problem}` : known;
}

function diskText({ path, totalBytes, freeBytes }: NonNullable<Facts["disk"]>): string {
  const share = totalBytes > 0 ? ` (${Math.round((100 * freeBytes) / totalBytes)} %)` : "";
  return `${dataSize(freeBytes)} free of ${dataSize(totalBytes)}${share} at ${path}`;
}

const policyText = ({ file, images, volumes }: NonNullable<Facts["policy"]>) =>
  `${file}: images ${images.join(", ") || "none"}; volumes ${volumes.join(", ") || "none"}`;

function usageText({ memory, agentBytes, jobs, engineMs, cloudflared }: NonNullable<Facts["usage"]>): string {
  const parts = [
    `memory ${dataSize(memory.availableBytes)} free of ${dataSize(memory.totalBytes)}`,
    `agent ${dataSize(agentBytes)}, ${jobs.done} jobs done, ${jobs.failed} failed`,
    engineMs === undefined ? undefined : `docker answers in ${engineMs} ms`,
    cloudflared && `cloudflared carried ${cloudflared.requests} requests, ${cloudflared.errors} failed`,
  ];
  return parts.filter((part) => part !== undefined).join("; ");
}

function tunnelText(tunnel: NonNullable<Facts["tunnel"]>): string {
  const { state, version, configVersion, readyConnections, cause } = tunnel;
  const parts = [
    readyConnections === undefined ? undefined : `${readyConnections} connections`,
    version && `cloudflared ${version}`,
    configVersion === undefined ? undefined : `configuration ${configVersion}`,
  ].filter((part) => part !== undefined);
  const said = parts.length > 0 ? `${state}, ${parts.join(", ")}` : state;
  return cause ? `${said}: ${cause}` : said;
}
