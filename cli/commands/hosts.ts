import { InvalidArgumentError } from "commander";
import { collect } from "../../src/client/index.ts";
import type { HostView } from "../../src/protocol/api/hosts.ts";
import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { factRows } from "../io/host-facts.ts";
import { workOf } from "../io/host-work.ts";
import { ago, clean, facts, table, until } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examplesOfEach, parseCount, type Register, timeoutOption } from "../verb.ts";
import { drain } from "./hosts-drain.ts";

export const hosts: Register = (program, act) => {
  const group = program
    .command("hosts")
    .description("the machines that run instances")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice hosts list",
        "sluice hosts show web-1",
        "sluice hosts enroll web-1 --labels tier=web,zone=a --slots 8",
        "sluice hosts rotate web-1",
        "sluice hosts rotate-tunnel web-1",
        "sluice hosts drain web-1",
        "sluice hosts remove web-1",
      ),
    );
  group.command("list", { isDefault: true }).description("all hosts").action(act(list));
  group.command("show").argument("<host>").description("one host and what it runs").action(act(show));
  group
    .command("enroll")
    .argument("<name>")
    .description("make a one-time token for a new host; prints the command to run there")
    .option("--label <key=value>", "a label, may be repeated", parseLabel, {})
    .option("--labels <list>", "several at once: tier=web,zone=a", parseLabels, {})
    .option("--slots <n>", "how many instances it can hold", parseCount(200), 8)
    .option("--expires <minutes>", "how long the token is good for", parseCount(1_440), 60)
    .option("--container [image]", "the agent as a container instead of a systemd unit")
    .option("--origin-base <url>", "how the edge reaches it without a tunnel, e.g. http://10.0.0.7")
    .action(act(enroll));
  group
    .command("rotate")
    .argument("<host>")
    .description("give its agent a new token; the old one ends when the new one is first used")
    .action(act(rotate));
  group
    .command("rotate-tunnel")
    .argument("<host>")
    .description("give a host's tunnel a new token; what is connected stays connected")
    .action(act(rotateTunnel));
  group
    .command("drain")
    .argument("<host>")
    .description("move what serves there to other hosts, without a dropped request; nothing new is put on it")
    .option("--undo", "let it carry again")
    .option("--force", "even if something could go on nowhere else: that stays until it can")
    .option("--no-wait", "return when it has begun; it goes on by itself")
    .addOption(timeoutOption("1h", "it"))
    .action(act(drain));
  group
    .command("remove")
    .argument("<host>")
    .description("forget a host; its instances are no longer reached")
    .option("--force", "even if it still has instances (the machine is gone for good)")
    .option("-y, --yes", "don't ask")
    .action(act(remove));
};

function parseLabel(text: string, before: Record<string, string>): Record<string, string> {
  const [, key, value] = /^([^=\s]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError("It must be key=value.");
  return { ...before, [key]: value };
}

const parseLabels = (text: string, before: Record<string, string>) =>
  text.split(",").reduce((labels, one) => parseLabel(one.trim(), labels), before);

async function list(session: Session): Promise<Outcome> {
  const items = await collect((page) => session.client.hosts.list(page));
  const rows = items.map((host) => [
    host.name,
    host.drain ? `${host.state}, drains` : host.state,
    host.runtime,
    `${host.slots.used}/${host.slots.total}`,
    String(host.slots.free),
    host.lastSeenAt ? ago(host.lastSeenAt, session.now()) : "never",
    host.agentVersion,
    labels(host),
  ]);
  const heading = ["NAME", "STATE", "RUNTIME", "USED", "FREE", "SEEN", "AGENT", "LABELS"];
  for (const host of items) warnOfClock(session, host);
  const text = items.length > 0 ? table([heading, ...rows]) : "no hosts yet: sluice hosts enroll <name>";
  return { exit: EXIT.ok, json: { items }, text };
}

const labels = (host: HostView) =>
  Object.entries(host.labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

async function show(session: Session, name: string): Promise<Outcome> {
  const host = await session.client.hosts.get(name);
  warnOfClock(session, host);
  return { exit: EXIT.ok, json: { host }, text: hostText(host, session.now()) };
}

/** More than this and the times in its logs and certificates are not to be trusted. */
const SKEW_MS = 5_000;

function warnOfClock(session: Session, { name, clockSkewMs }: HostView): void {
  if (clockSkewMs === null || Math.abs(clockSkewMs) <= SKEW_MS) return;
  const by = `${(Math.abs(clockSkewMs) / 1000).toFixed(1)} s ${clockSkewMs > 0 ? "ahead of" : "behind"} control`;
  session.out.say(
    `warning: the clock of ${clean(name)} is ${by}: turn time synchronisation on there (timedatectl set-ntp true)`,
  );
}

/** One host as text. */
function hostText(host: HostView, now: number): string {
  const { slots, clockSkewMs } = host;
  const rows = host.instances.map((i) => [
    `  ${i.slot}`,
    i.version,
    i.ready ? "ready" : i.state,
    i.cause ?? "",
    i.id,
  ]);
  return [
    `${clean(host.name)}  ${host.state}`,
    ...facts([
      ["runtime", `${clean(host.runtime)}, agent ${clean(host.agentVersion)}`],
      ["labels", clean(labels(host)) || "none"],
      ["seen", host.lastSeenAt ? ago(host.lastSeenAt, now) : "never"],
      [
        "clock",
        clockSkewMs === null ? undefined : `${clockSkewMs >= 0 ? "+" : ""}${clockSkewMs} ms against control`,
      ],
      ["token", tokenText(host, now)],
      ...factRows(host.facts),
      ["tunnel", tunnelText(host.tunnel)],
      [
        "accessories",
        host.accessories
          .map((one) => clean(`${one.name} of ${one.app}/${one.environment} (${one.state})`))
          .join(", ") || undefined,
      ],
      ["workers", host.workers.map((one) => clean(workerText(one))).join(", ") || undefined],
      [
        "runs now",
        host.runs.map((one) => clean(`${one.what} of ${one.app}/${one.environment}`)).join(", ") || undefined,
      ],
      ["drains", drainText(host, now)],
      ...host.aside.map((slot): [string, string] => [
        "set aside",
        `slot ${slot.slot}: ${clean(slot.cause)}; tried again ${until(slot.until, now)}`,
      ]),
      ["slots", `${slots.used} used, ${slots.reserved} reserved, ${slots.free} free of ${slots.total}`],
    ]),
    ...(rows.length > 0 ? [table([["  SLOT", "VERSION", "STATE", "CAUSE", "INSTANCE"], ...rows])] : []),
  ].join("\n");
}

function tokenText({ rotateAt, sharedAt, staleTokenAt }: HostView, now: number): string | undefined {
  const said = [
    sharedAt && `two machines used it, last ${ago(sharedAt, now)}: sluice doctor`,
    staleTokenAt && `one of before was tried ${ago(staleTokenAt, now)}, and refused`,
    rotateAt && `a new one was asked for ${ago(rotateAt, now)}`,
  ].filter((one) => one !== null && one !== "");
  return said.join("; ") || undefined;
}

const workerText = ({ app, environment, process, version, state }: HostView["workers"][number]) =>
  `${process} of ${app}/${environment} ${version} (${state})`;

/** Undefined: it is not to be emptied. */
function drainText(host: HostView, now: number): string | undefined {
  const { drain: asked } = host;
  if (!asked) return undefined;
  const work = workOf(host);
  const how = work.length > 0 ? `${work.length} left` : "it is empty";
  return `since ${ago(asked.at, now)}, asked by ${clean(asked.by)}; ${how}`;
}

/** Undefined: the edge reaches it by its own address. */
const tunnelText = (tunnel: HostView["tunnel"]): string | undefined =>
  tunnel
    ? `${tunnel.state}, ${clean(tunnel.name)}${tunnel.cause ? `: ${clean(tunnel.cause)}` : ""}`
    : undefined;

interface EnrollOptions {
  readonly label: Record<string, string>;
  readonly labels: Record<string, string>;
  readonly slots: number;
  readonly expires: number;
  /** True: as a container, of the usual name. */
  readonly container?: string | true;
  readonly originBase?: string;
}

/** As `agent/Dockerfile` says to name it. */
const AGENT_IMAGE = "sluice-agent:latest";

async function enroll(session: Session, name: string, options: EnrollOptions): Promise<Outcome> {
  const { slots, expires: expiresInMinutes, container, originBase } = options;
  const answer = await session.client.hosts.createEnrollment({
    name,
    labels: { ...options.labels, ...options.label },
    slots,
    expiresInMinutes,
    ...(container !== undefined && { container: container === true ? AGENT_IMAGE : container }),
    ...(originBase !== undefined && { originBase }),
  });
  session.out.say(
    `run this on ${clean(answer.name)} as root, once, ${until(answer.expiresAt, session.now()).replace("in", "within")}; it carries the token, which is shown only here:`,
  );
  if (answer.agentSha256)
    session.out.say(`the agent it installs has the SHA-256 ${clean(answer.agentSha256)}`);
  return { exit: EXIT.ok, json: answer, text: clean(answer.command), secret: true };
}

async function rotate(session: Session, name: string): Promise<Outcome> {
  const host = await session.client.hosts.rotate(name);
  const when =
    host.state === "online"
      ? "its agent gets it within a minute"
      : `${clean(host.name)} is ${host.state}: its agent gets it when it is back`;
  session.out.say(`a new token is ready for ${clean(host.name)}; ${when}`);
  return { exit: EXIT.ok, json: { host } };
}

async function rotateTunnel(session: Session, name: string): Promise<Outcome> {
  const rotated = await session.client.hosts.rotateTunnel(name);
  session.out.say(
    `the tunnel of ${clean(rotated.host)} has a new token, which its agent fetches by itself; the old one opens no connection any more`,
  );
  return { exit: EXIT.ok, json: rotated };
}

async function remove(
  session: Session,
  name: string,
  options: { yes?: boolean; force?: boolean },
): Promise<Outcome> {
  const host = await session.client.hosts.get(name);
  const running = workOf(host).join(", ") || "nothing runs there";
  await confirm(session, `Remove ${clean(host.name)} (${host.state}, ${running})?`, options.yes);
  await session.client.hosts.remove(name, { force: options.force === true });
  const tunnel = host.tunnel ? "; its tunnel and all that was made with it goes within the next minutes" : "";
  session.out.say(`${clean(host.name)} is removed${tunnel}`);
  return { exit: EXIT.ok, json: { removed: host.name } };
}
