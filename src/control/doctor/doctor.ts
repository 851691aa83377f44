import {
  type Check,
  checkHost,
  checkHostname,
  checkImages,
  checkLook,
  isOlder,
} from "../../domain/doctor/doctor.ts";
import { hostFactsSchema } from "../../protocol/agent/host-facts.ts";
import type { ControlEnv } from "../env.ts";
import { type Db, wordsOf } from "../store/db.ts";
import { type Findings, readFindings } from "../store/findings.ts";
import { readImageTotals } from "../store/images/retention.ts";

const DEADLINE_MS = 5_000;

/** Looks at everything, stops at nothing: control's own parts, each host, each public hostname. */
export async function examine(at: { env: ControlEnv; db: Db; now: number }): Promise<Check[]> {
  const { env, db, now } = at;
  const database = await found("control.database", "D1", () => readFindings(db, now));
  const own = [database.check, await tables(env)];
  if (!database.value) return own;
  const { hosts, hostnames, looks, needSecrets } = database.value;
  const zone = env.SLOT_ZONE ?? null;
  return [
    ...own,
    secretsKey(env, needSecrets),
    cloudflare(env),
    ...(env.IMAGES ? [checkImages(await readImageTotals(db))] : []),
    ...(hosts.length === 0 ? [noHosts] : []),
    ...hosts.flatMap((host) => {
      const facts = hostFactsSchema.safeParse(host.facts).data ?? null;
      return checkHost({ ...host, facts }, { now, newestAgent: newestAgent(hosts) });
    }),
    ...hostnames.flatMap((hostname) => checkHostname(hostname, zone)),
    ...looks.flatMap(({ subject, look }) => checkLook(subject, look)),
  ];
}

const newestAgent = (hosts: Findings["hosts"]): string =>
  hosts.reduce((newest, { agentVersion }) => (isOlder(newest, agentVersion) ? agentVersion : newest), "");

const about = (check: Omit<Check, "subject">): Check => ({ subject: "control", ...check });

/** Runs a look with a deadline and says how long it took, or why it failed. */
async function found<T>(
  id: string,
  what: string,
  look: () => Promise<T>,
): Promise<{ check: Check; value?: T }> {
  const start = performance.now();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${DEADLINE_MS / 1_000} s`)), DEADLINE_MS);
  try {
    const value = await Promise.race([look(), late]);
    const detail = `${what} answers in ${Math.round(performance.now() - start)} ms`;
    return { check: about({ id, status: "ok", detail, fix: null }), value };
  } catch (error) {
    const detail = `${what} does not answer: ${wordsOf(error)}`;
    const fix = "run `sluice setup` again: it finds or makes what control is bound to";
    return { check: about({ id, status: "fail", detail, fix }) };
  } finally {
    clearTimeout(timer);
  }
}

/** Without the copies a cold edge has nothing to go by while control is gone. */
const tables = async (env: ControlEnv): Promise<Check> =>
  (await found("control.tables", "KV", () => env.TABLES.get("doctor"))).check;

function secretsKey(env: ControlEnv, needed: readonly string[]): Check {
  const id = "control.secrets";
  if (env.SECRETS_KEY) return about({ id, status: "ok", detail: "has a key for secrets", fix: null });
  const fix = "sluice setup puts SECRETS_KEY; it never replaces one that is there";
  if (needed.length === 0)
    return about({ id, status: "warn", detail: "no key for secrets: none can be set", fix });
  const detail = `no key for secrets, but ${needed.join(", ")} need some: their releases are refused`;
  return about({ id, status: "fail", detail, fix });
}

function cloudflare(env: ControlEnv): Check {
  const id = "control.cloudflare";
  const missing = (
    ["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "SLOT_ZONE", "SLOT_ZONE_ID"] as const
  ).filter((name) => !env[name]);
  if (missing.length === 4) {
    const detail = "makes no tunnels and routes: hosts are reached by plain URLs";
    return about({ id, status: "skip", detail, fix: null });
  }
  if (missing.length === 0)
    return about({
      id,
      status: "ok",
      detail: `makes tunnels and routes; slots are in ${env.SLOT_ZONE}`,
      fix: null,
    });
  const detail = `is set up for Cloudflare by half: ${missing.join(", ")} missing`;
  return about({ id, status: "fail", detail, fix: "sluice setup puts what is missing" });
}

const noHosts: Check = about({
  id: "control.hosts",
  status: "warn",
  detail: "no host is enrolled",
  fix: "sluice hosts enroll <name>",
});
