import { dataSize } from "../data-size.ts";
import { isOnline } from "../host-online.ts";
import { nameOf } from "../routing/site.ts";
import type { Sight } from "./front-page.ts";

/** What `sluice doctor` makes of an installation. Pure: it is told what was found, and says what that means and what to do. */

export interface Check {
  /** Stable: `host.disk`, `hostname.route`. */
  readonly id: string;
  /** What it is about: `control`, a host's or a public hostname's name. */
  readonly subject: string;
  /** `skip`: there is nothing to check here, and why. */
  readonly status: "ok" | "warn" | "fail" | "skip";
  /** What was found, with the values. */
  readonly detail: string;
  /** What mends it; null where nothing has to be. */
  readonly fix: string | null;
}

type Finding = Omit<Check, "subject">;

const ok = (id: string, detail: string): Finding => ({ id, status: "ok", detail, fix: null });
const skip = (id: string, detail: string): Finding => ({ id, status: "skip", detail, fix: null });
const warn = (id: string, detail: string, fix: string): Finding => ({ id, status: "warn", detail, fix });
const fail = (id: string, detail: string, fix: string): Finding => ({ id, status: "fail", detail, fix });

export interface HostFindings {
  readonly name: string;
  readonly runtime: "docker" | "process";
  readonly agentVersion: string;
  /** Epoch ms. */
  readonly lastSeenAt: number | null;
  readonly clockSkewMs: number | null;
  /** When two machines were last seen to use its token, and when one that was its before was tried; epoch ms. */
  readonly sharedAt: number | null;
  readonly staleTokenAt: number | null;
  readonly freeSlots: number;
  readonly slots: number;
  /** Set aside, because somebody else on the host has their port. */
  readonly aside: readonly { readonly slot: number; readonly cause: string }[];
  /** As the host reported it; null: it never did. */
  readonly facts: HostReport | null;
  /** What control knows of its tunnel; null: it is reached by plain URLs. */
  readonly tunnel: {
    readonly state: "pending" | "ready" | "removing" | "removed";
    readonly cause: string | null;
    readonly configVersion: number | null;
  } | null;
}

/** The parts of the wire's host facts that are judged. */
export interface HostReport {
  readonly engine?:
    | undefined
    | {
        readonly version?: string | undefined;
        readonly apiVersion?: string | undefined;
        readonly storageDriver?: string | undefined;
        readonly liveRestore?: boolean | undefined;
        readonly problem?: string | undefined;
      };
  readonly ports?:
    | undefined
    | { readonly first: number; readonly last: number; readonly problem?: string | undefined };
  readonly disk?:
    | undefined
    | { readonly path: string; readonly totalBytes: number; readonly freeBytes: number };
  readonly policy?: undefined | { readonly file: string; readonly images: readonly string[] };
  readonly tunnel?:
    | undefined
    | {
        readonly state: "starting" | "connected" | "down";
        readonly version?: string | undefined;
        readonly configVersion?: number | undefined;
        readonly readyConnections?: number | undefined;
        readonly cause?: string | undefined;
      };
}

/** TLS and token checks of registries begin to fail about here. */
const SKEW_FAIL_MS = 5 * 60_000;
const SKEW_WARN_MS = 5_000;
const GB = 1024 ** 3;

/** Everything there is to say about one host. */
export function checkHost(host: HostFindings, at: { now: number; newestAgent: string }): Check[] {
  const findings = [
    agentHeard(host, at.now),
    token(host, at.now),
    agentVersion(host, at.newestAgent),
    clock(host),
    engine(host),
    disk(host),
    slots(host),
    ports(host),
    policy(host),
    tunnel(host),
  ];
  return findings.map((finding) => ({ ...finding, subject: host.name }));
}

function agentHeard({ name, lastSeenAt }: HostFindings, now: number): Finding {
  const id = "host.agent";
  const start = `on ${name}: systemctl status sluice-agent (or docker logs sluice-agent), and that it reaches control over HTTPS`;
  if (lastSeenAt === null) return fail(id, "its agent was never heard from", start);
  const seconds = Math.round((now - lastSeenAt) / 1_000);
  if (isOnline({ lastSeenAt }, now)) return ok(id, `agent heard ${Math.max(0, seconds)} s ago`);
  return fail(
    id,
    `its agent was last heard ${seconds} s ago: nothing new is put on it, what runs goes on`,
    start,
  );
}

/** What was seen a day ago was mended since, or is seen again. */
const TOKEN_SEEN_MS = 86_400_000;

function token({ name, sharedAt, staleTokenAt }: HostFindings, now: number): Finding {
  const id = "host.token";
  const isRecent = (at: number | null): at is number => at !== null && now - at < TOKEN_SEEN_MS;
  const ago = (at: number) => `${Math.max(0, Math.round((now - at) / 60_000))} min ago`;
  if (isRecent(sharedAt))
    return fail(
      id,
      `two machines use its token, last seen ${ago(sharedAt)}: only the one that was there first is heard`,
      `stop the agent on the copy and enrol it by its own name; if there is no copy, the token was taken: sluice hosts remove ${name} --force, enrol it anew, and change the secrets of its apps`,
    );
  if (isRecent(staleTokenAt))
    return warn(
      id,
      `a token that was its before was tried ${ago(staleTokenAt)}, and refused`,
      `is there a copy of ${name}, or a state directory put back? If not, somebody took the old token: change the secrets of the apps that ran there then`,
    );
  return ok(id, "one machine uses its token");
}

function agentVersion({ agentVersion: version, name }: HostFindings, newest: string): Finding {
  const id = "host.version";
  if (!isOlder(version, newest)) return ok(id, `agent ${version}`);
  return warn(
    id,
    `agent ${version}, the newest here is ${newest}`,
    `on ${name}: run the install line again (sluice hosts enroll --help shows it); containers run on`,
  );
}

/** By number; a version that is no `a.b.c` is older than nothing. */
export function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map((text) => /^(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number));
  if (!a || !b) return false;
  const at = a.findIndex((part, i) => part !== b[i]);
  return at !== -1 && (a[at] ?? 0) < (b[at] ?? 0);
}

function clock({ clockSkewMs, name }: HostFindings): Finding {
  const id = "host.clock";
  if (clockSkewMs === null) return skip(id, "clock not compared yet");
  const seconds = (clockSkewMs / 1_000).toFixed(1);
  const detail = `clock ${clockSkewMs < 0 ? "" : "+"}${seconds} s against control`;
  const fix = `on ${name}: timedatectl set-ntp true`;
  if (Math.abs(clockSkewMs) >= SKEW_FAIL_MS)
    return fail(id, `${detail}: registries will refuse its certificates and tokens`, fix);
  return Math.abs(clockSkewMs) >= SKEW_WARN_MS ? warn(id, detail, fix) : ok(id, detail);
}

function engine({ facts, runtime, name }: HostFindings): Finding {
  const id = "host.engine";
  if (runtime === "process") return skip(id, "runs plain processes, no Docker engine");
  if (!facts?.engine) return skip(id, "the agent has not described its Docker engine yet");
  const { problem, version = "?", apiVersion = "?", storageDriver = "?", liveRestore } = facts.engine;
  if (problem) return fail(id, `Docker: ${problem}`, `on ${name}: docker version, systemctl status docker`);
  const detail = `Docker ${version} (API ${apiVersion}, ${storageDriver})`;
  const fix = `on ${name}: "live-restore": true, "userland-proxy": false in /etc/docker/daemon.json, then systemctl restart docker`;
  return liveRestore === false
    ? warn(id, `${detail}: when it is restarted or upgraded, all containers stop with it`, fix)
    : ok(id, detail);
}

function disk({ facts, name }: HostFindings): Finding {
  const id = "host.disk";
  if (!facts?.disk) return skip(id, "free disk not reported yet");
  const { path, totalBytes, freeBytes } = facts.disk;
  const share = totalBytes > 0 ? freeBytes / totalBytes : 0;
  const detail = `${dataSize(freeBytes)} of ${dataSize(totalBytes)} free at ${path}`;
  const fix = `on ${name}: docker system df; the agent removes old images by itself, volumes and build caches it leaves alone`;
  if (share < 0.05 || freeBytes < GB) return fail(id, `${detail}: the next pull may fail`, fix);
  return share < 0.1 || freeBytes < 3 * GB ? warn(id, detail, fix) : ok(id, detail);
}

function slots({ freeSlots, slots: total, aside }: HostFindings): Finding {
  const detail = `${freeSlots} of ${total} slots free`;
  if (aside.length > 0) {
    const each = aside.map(({ slot, cause }) => `slot ${slot} is set aside: ${cause}`);
    const fix =
      "find out what listens there (`ss -ltnp` on the host) and move it: slots have their ports alone";
    return warn("host.slots", [detail, ...each].join("; "), fix);
  }
  if (freeSlots > 0) return ok("host.slots", detail);
  return warn("host.slots", detail, "enrol a host with more --slots, or lower replicas or keep");
}

function ports({ facts, name }: HostFindings): Finding {
  const id = "host.ports";
  if (!facts?.ports) return skip(id, "the slots' ports not reported yet");
  const { first, last, problem } = facts.ports;
  if (problem === undefined) return ok(id, `ports ${first} to ${last} are the slots' own`);
  const [why = problem, ...fixes] = problem.split(": ");
  return warn(id, why, `on ${name}: ${fixes.join(": ")}`);
}

function policy({ facts }: HostFindings): Finding {
  const id = "host.policy";
  if (!facts) return skip(id, "policy not reported yet");
  if (facts.policy)
    return ok(id, `policy ${facts.policy.file}: images ${facts.policy.images.join(", ") || "none"}`);
  return ok(id, "no policy file: it takes every image that control sends (docs/hosts.md, Policy)");
}

function tunnel({ tunnel: wanted, facts, name }: HostFindings): Finding {
  const id = "host.tunnel";
  if (!wanted) return skip(id, "reached by a plain URL, without a tunnel");
  if (wanted.state !== "ready") {
    const cause = wanted.cause ?? "being made";
    return fail(
      id,
      `tunnel ${wanted.state}: ${cause}`,
      "control tries again by itself; mend the cause it names",
    );
  }
  const reported = facts?.tunnel;
  const look = `on ${name}: journalctl -u sluice-agent; cloudflared needs UDP and TCP 7844 outwards`;
  if (!reported) return fail(id, "the tunnel is made, but the agent reports no cloudflared", look);
  if (reported.state !== "connected")
    return fail(id, `cloudflared is ${reported.state}: ${reported.cause ?? "no cause given"}`, look);
  const { configVersion, readyConnections = 0, version = "?" } = reported;
  if (wanted.configVersion !== null && configVersion !== undefined && configVersion < wanted.configVersion) {
    return fail(
      id,
      `cloudflared runs ingress rules ${configVersion}, control wrote ${wanted.configVersion}`,
      look,
    );
  }
  const detail = `cloudflared ${version}, ${readyConnections} connections`;
  return readyConnections < 2 ? warn(id, `${detail}: one is no spare`, look) : ok(id, detail);
}

export interface HostnameFindings {
  readonly hostname: string;
  /** `shop/production`. */
  readonly environment: string;
  /** Null: control asked Cloudflare nothing about it. */
  readonly routeState: "pending" | "ready" | "foreign" | null;
  readonly routeCause: string | null;
}

/** Everything there is to say about one public hostname. `zone`: that of the slots; null: no Cloudflare here. */
export function checkHostname(found: HostnameFindings, zone: string | null): Check[] {
  const findings = [route(found, zone), certificate(found.hostname, zone)];
  return findings.map((finding) => ({ ...finding, subject: found.hostname }));
}

function route({ routeState, routeCause, environment }: HostnameFindings, zone: string | null): Finding {
  const id = "hostname.route";
  if (zone === null) return skip(id, `leads to ${environment}; no Cloudflare here, so no route to check`);
  if (routeState === "ready") return ok(id, `leads to the edge, for ${environment}`);
  if (routeState === "foreign")
    return ok(id, `leads to the edge, for ${environment}; its DNS record is your own`);
  const cause = routeCause ?? "control has not asked Cloudflare yet";
  return fail(
    id,
    `no route to the edge: ${cause}`,
    "control tries again each minute; mend the cause it names",
  );
}

export interface ImageFindings {
  readonly images: number;
  readonly apps: number;
  readonly bytes: number;
  /** Of them, those of uploads that are not finished. */
  readonly pending: number;
}

/** What is kept of images that are in no registry. */
export function checkImages({ images, apps, bytes, pending }: ImageFindings): Check {
  const unfinished = pending === 0 ? "" : `, ${dataSize(pending)} of it of unfinished uploads`;
  const detail = `keeps ${plural(images, "image")} of ${plural(apps, "app")} for hosts, ${dataSize(bytes)}${unfinished}`;
  return { ...ok("control.images", detail), subject: "control" };
}

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** What visitors of an environment's live release would meet, by the look that was taken before it got traffic. */
export const checkLook = (subject: string, look: readonly Sight[]): Check[] =>
  look.length === 0
    ? [{ ...ok("app.look", "as a visitor would see it, nothing is amiss"), subject }]
    : look.map(({ code, detail, fix }) => ({ ...warn(`app.look.${code}`, detail, fix), subject }));

/** Universal SSL covers a zone's apex and one label below it (docs/cloudflare.md). */
function certificate(site: string, zone: string | null): Finding {
  const hostname = nameOf(site);
  const id = "hostname.certificate";
  if (zone === null || !hostname.endsWith(`.${zone}`))
    return skip(id, "its zone's certificates are not known here");
  const depth = hostname.slice(0, -zone.length - 1).split(".").length;
  if (depth <= 1) return ok(id, "covered by Universal SSL");
  return warn(
    id,
    `is ${depth} labels below ${zone}: Universal SSL covers one`,
    `use ${hostname.slice(0, -zone.length - 1).replaceAll(".", "-")}.${zone}, or order an Advanced Certificate for it`,
  );
}
