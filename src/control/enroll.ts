import { err, ok, type Result } from "../domain/result.ts";
import type { Enroll, EnrollAnswer } from "../protocol/agent.ts";
import { newId, newSecret, sha256 } from "./ids.ts";
import type { Reason } from "./problems.ts";
import { type Db, isLostRace, runBatch } from "./store/db.ts";
import { findEnrollment, insertHost, insertSlots, useEnrollment } from "./store/enrollments.ts";
import { insertEvent } from "./store/events.ts";
import { isHostKnown } from "./store/hosts.ts";
import { insertToken } from "./store/tokens.ts";

/**
 * Makes a host of the bearer of a one-time token: the host, its slots and its own token in one batch that fails whole if
 * the token was used a moment before, or the name is taken.
 */
export async function enrollHost(db: Db, input: Enroll, now: number): Promise<Result<EnrollAnswer, Reason>> {
  const hash = await sha256(input.token);
  const enrollment = await findEnrollment(db, hash);
  if (!enrollment) return err(invalid("control does not know this enrolment token"));
  const { name } = enrollment;
  if (enrollment.usedAt !== null) return err(invalid(`the enrolment token for ${name} was used already`));
  if (enrollment.expiresAt <= now)
    return err(
      invalid(`the enrolment token for ${name} expired at ${new Date(enrollment.expiresAt).toISOString()}`),
    );
  const origin = originOf(input);
  if (!origin.ok) return origin;
  if (await isHostKnown(db, name)) return err(taken(name));

  const id = newId("host", now);
  const token = newSecret("slu");
  const slots = Array.from({ length: enrollment.slots }, (_, n) => {
    const hostPort = input.portBase + n;
    return { id: `${id}/${n}`, hostId: id, n, hostPort, origin: `${origin.value}:${hostPort}` };
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
  return ok({ host: { id, name }, token, slots: answer });
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

/** Scheme and host that the edge reaches this machine under; each slot adds its port. */
function originOf({ originBase }: Enroll): Result<string, Reason> {
  if (originBase === undefined) {
    const detail = "this version makes no tunnels: start the agent with an origin the edge can reach";
    return err(badInput("originBase", detail));
  }
  const url = new URL(originBase);
  const isBare =
    url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "" && url.port === "";
  if (isBare && (url.protocol === "http:" || url.protocol === "https:"))
    return ok(`${url.protocol}//${url.hostname}`);
  const detail = `\`${originBase}\` must be scheme and host only, e.g. http://127.0.0.1: each slot adds its own port`;
  return err(badInput("originBase", detail));
}

const badInput = (field: string, detail: string): Reason => ({
  code: "invalid_request",
  detail: `the body is not valid: /${field}: ${detail}`,
  errors: [{ pointer: `/${field}`, detail }],
});

const invalid = (detail: string): Reason => ({
  code: "enrollment_invalid",
  detail,
  next: [{ command: "sluice hosts enroll <name>", when: "to make a new one" }],
});

export const taken = (name: string): Reason => ({
  code: "conflict",
  detail: `a host named \`${name}\` is enrolled already: pick another name, or remove that one first`,
  next: [
    { command: `sluice hosts remove ${name}`, when: "that machine is gone, and this one takes its name" },
  ],
});
