import type { Check } from "../../src/protocol/agent/check.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import { cut } from "../outcome.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type CheckFailure, type CheckResult, httpCheck } from "./http-check.ts";

/** What is looked at: one instance, by one of its checks. */
export interface Look {
  readonly spec: InstanceSpec;
  readonly check: Check;
  readonly runtime: Pick<Runtime, "name" | "listens" | "addressOf" | "execute">;
}

/** `GET http://127.0.0.1:20003/up`, `a connection to port 6379`, `\`pg_isready -U app\``: what a result's `problem` goes on. */
export function wordsOf({ spec, check, runtime }: Look): string {
  if (check.tcp) return `a connection to port ${portOf({ spec, check, runtime })}`;
  if (check.command) return `\`${cut(check.command.join(" "), 200)}\``;
  return `GET ${urlOf(spec, check)}`;
}

/** The port as the app knows it. */
const portOf = ({ spec, check, runtime }: Look): number | undefined =>
  check.port ?? (runtime.name === "docker" ? spec.containerPort : spec.hostPort);

/** As messages have it: a port of the instance's own is told by that port, wherever it is reached. */
const urlOf = (spec: InstanceSpec, { path = "/", port }: Check): string =>
  `http://127.0.0.1:${port ?? spec.hostPort}${path}`;

/** Looks once. A failure is a result; nothing is thrown for it. */
export async function look(one: Look, signal: AbortSignal): Promise<CheckResult> {
  if (one.check.tcp) return connect(one);
  if (one.check.command) return execute(one, one.check.command, signal);
  return get(one);
}

async function get({ spec, check, runtime }: Look): Promise<CheckResult> {
  const { path = "/", port, timeoutMs, host, headers, statuses } = check;
  const ask = { host, headers, statuses };
  if (port === undefined) return httpCheck(urlOf(spec, check), timeoutMs, ask);
  const address = await runtime.addressOf(spec.instance);
  const told = urlOf(spec, check);
  if (address === undefined) return unknownAddress(told);
  const result = await httpCheck(`http://${address}:${port}${path}`, timeoutMs, ask);
  return result.ok ? result : { ...result, facts: { ...result.facts, url: told } };
}

async function connect(one: Look): Promise<CheckResult> {
  const port = portOf(one);
  const facts = { url: `tcp://127.0.0.1:${port}` };
  const isOpen = await one.runtime.listens(one.spec, port, one.check.timeoutMs);
  if (isOpen) return { ok: true };
  const problem = isOpen === false ? "was refused: nothing listens there" : "was not answered in time";
  return { ok: false, code: isOpen === false ? "port_closed" : "health_timeout", problem, facts };
}

async function execute(
  { spec, check, runtime }: Look,
  command: readonly string[],
  signal: AbortSignal,
): Promise<CheckResult> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(check.timeoutMs)]);
  const ran = await runtime.execute(spec.instance, command, within);
  if (ran.exitCode === 0) return { ok: true };
  const how =
    within.aborted && ran.exitCode === undefined ? `did not end within ${check.timeoutMs} ms` : endOf(ran);
  const body = cut(ran.output.trim(), 500);
  const said = body ? `: ${cut(body.replace(/\s+/g, " "), 200)}` : "";
  const facts = { url: `exec:${cut(command.join(" "), 200)}`, ...(body && { body }) };
  return { ok: false, code: "health_command", problem: `${how}${said}`, facts };
}

const endOf = ({ exitCode }: { exitCode?: number | undefined }) =>
  exitCode === undefined ? "could not be run" : `exited with code ${exitCode}`;

const unknownAddress = (url: string): CheckFailure => ({
  ok: false,
  code: "health_unreachable",
  problem: "can't be asked: the container has no address of its own on this host",
  facts: { url },
});
