import { z } from "zod";

/**
 * The wire between an agent and control: `/agent/v1/*`, JSON over HTTPS, bearer token of role `agent`.
 *
 * Rules both sides rely on:
 * - A job is leased to the agent that polled it. `progress` renews the lease, `done` ends it; both carry the lease token,
 *   and a stale one is refused (409 `lease_lost`): someone else may hold the job now, so the agent drops its result.
 * - A job is idempotent by its id, an instance by its id: starting one that runs reports it, stopping one that is gone
 *   succeeds. The agent may be handed the same job twice (lease expired, answer lost) and must not do it twice.
 * - `fence` rises with each lock of the environment. The agent remembers the highest it saw per environment and refuses
 *   lower ones, so a coordinator that was paused and woke up can't act.
 * - An agent that restarts, or can't reach control, never stops a container and never changes traffic.
 */
export const AGENT_PROTOCOL = 1;

export const id = z.string().min(1).max(64);
export const ms = z.number().int().nonnegative();

export const RUNTIMES = ["docker", "process"] as const;

/** The only message the wake-up socket (`GET /agent/v1/wake`) ever carries downwards. Upwards: "ping", answered "pong". */
export const WAKE = "poll";
