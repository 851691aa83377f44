import { err, ok, type Result } from "../../domain/result.ts";
import { slotHostname } from "../../domain/routing/slot.ts";
import { moment } from "../../domain/times.ts";
import { tunnelName } from "../../domain/tunnel.ts";
import type { Enroll, EnrollAnswer } from "../../protocol/agent/enroll.ts";
import { missingSettings } from "../cloudflare/api.ts";
import type { ControlEnv } from "../env.ts";
import { newId, newSecret, randomLabel, sha256 } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { isLostRace, openDb, runBatch } from "../store/db.ts";
import { findEnrollment, insertHost, insertSlots, useEnrollment } from "../store/enrollments.ts";
import { insertEvent } from "../store/events.ts";
import { isHostKnown } from "../store/hosts.ts";
import { insertToken } from "../store/tokens.ts";
import { insertTunnel } from "../store/tunnels.ts";

/**
 * Makes a host of the bearer of a one-time token: the host, its slots and its own token in one batch that fails whole if
 * the token was used a moment before, or the name is taken. Its tunnel is only written down: `tunnel` says that it is to be
 * made.
 */
export async function enrollHost(
  env: ControlEnv,
  input: Enroll,
  now: number,
): Promise<Result<EnrollAnswer & { tunnel: boolean }, Refusal>> {
  const db = openDb(env.DB);
  const hash = await sha256(input.token);
  const enrollment = await findEnrollment(db, hash);
  if (!enrollment) return err(invalid("control does not know this enrolment token"));
  const { name } = enrollment;
  if (enrollment.usedAt !== null) return err(invalid(`the enrolment token for ${name} was used already`));
  if (enrollment.expiresAt <= now)
    return err(invalid(`the enrolment token for ${name} expired at ${moment(enrollment.expiresAt)}`));
  const origins = originsOf(env, input);
  if (!origins.ok) return origins;
  if (await isHostKnown(db, name)) return err(taken(name));

  const id = newId("host", now);
  const token = newSecret("slu");
  const slots = Array.from({ length: enrollment.slots }, (_, n) => {
    const hostPort = input.portBase + n;
    return { id: `${id}/${n}`, hostId: id, n, hostPort, origin: origins.value.of(hostPort) };
  });
  const host = {
    id,
    name,
    labels: enrollment.labels,
    runtime: input.runtime,
    agentVersion: input.agentVersion,
  };
  try {
    await runBatch(db, [
      useEnrollment(db, hash, now),
      insertHost(db, { ...host, createdAt: now }),
      ...insertSlots(db, slots),
      ...(origins.value.tunnel ? [insertTunnel(db, { id, tunnel: tunnelName(host) }, now)] : []),
      insertToken(db, await agentToken({ name, token, hostId: id, now })),
      insertEvent(db, {
        at: now,
        type: "host.enrolled",
        actor: `agent:${name}`,
        message: `host ${name} enrolled with ${slots.length} slots (token made by ${enrollment.createdBy})`,
        data: { host: name, id, slots: slots.length, runtime: input.runtime, labels: enrollment.labels },
      }),
    ]);
  } catch (error) {
    if (!isLostRace(error)) throw error;
    return err(invalid(`the enrolment token for ${name} was used a moment ago`));
  }
  const answer = slots.map(({ n, hostPort, origin }) => ({ slot: n, hostPort, origin }));
  return ok({ host: { id, name }, token, slots: answer, tunnel: origins.value.tunnel });
}

async function agentToken(of: { name: string; token: string; hostId: string; now: number }) {
  return {
    id: newId("tok", of.now),
    name: of.name,
    hash: await sha256(of.token),
    role: "agent" as const,
    app: null,
    environment: null,
    hostId: of.hostId,
    createdAt: of.now,
    expiresAt: null,
    revokedAt: null,
    lastUsedAt: null,
    replaces: null,
  };
}

interface Origins {
  readonly tunnel: boolean;
  /** What the edge fetches to reach the slot with this port. */
  readonly of: (hostPort: number) => string;
}

/** Under a name of its own in the slots' zone, or under the host's own address with the port. */
function originsOf(env: ControlEnv, { originBase }: Enroll): Result<Origins, Refusal> {
  const { SLOT_ZONE } = env;
  if (originBase === undefined) {
    const missing = missingSettings(env);
    if (missing.length > 0 || !SLOT_ZONE) return err(noTunnels(missing));
    return ok({ tunnel: true, of: () => `https://${slotHostname(randomLabel(), SLOT_ZONE)}` });
  }
  const url = new URL(originBase);
  const isBare =
    url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "" && url.port === "";
  if (isBare && (url.protocol === "http:" || url.protocol === "https:")) {
    return ok({ tunnel: false, of: (hostPort) => `${url.protocol}//${url.hostname}:${hostPort}` });
  }
  const detail = `\`${originBase}\` must be scheme and host only, e.g. http://127.0.0.1: each slot adds its own port`;
  return err(badInput("originBase", detail));
}

const noTunnels = (missing: readonly string[]): Refusal => ({
  code: "not_configured",
  detail: `this control plane makes no tunnels (it has no ${missing.join(", no ")}): start the agent with --origin-base and an address that the edge can reach`,
  next: [{ command: "sluice setup", when: "hosts are to be reached through Cloudflare Tunnels" }],
});

const badInput = (field: string, detail: string): Refusal => ({
  code: "invalid_request",
  detail: `the body is not valid: /${field}: ${detail}`,
  errors: [{ pointer: `/${field}`, detail }],
});

const invalid = (detail: string): Refusal => ({
  code: "enrollment_invalid",
  detail,
  next: [{ command: "sluice hosts enroll <name>", when: "to make a new one" }],
});

export const taken = (name: string): Refusal => ({
  code: "conflict",
  detail: `a host named \`${name}\` is enrolled already: pick another name, or remove that one first`,
  next: [
    { command: `sluice hosts remove ${name}`, when: "that machine is gone, and this one takes its name" },
  ],
});
