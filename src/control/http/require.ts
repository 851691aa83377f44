import type { EnvironmentView } from "../../protocol/api/environments.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import {
  type EnvironmentStatus,
  findEnvironment,
  type ReleaseStatus,
  readEnvironment,
  readRelease,
} from "../store/status.ts";
import { listVerdicts } from "../store/verdicts.ts";
import { environmentView } from "../views/environment.ts";
import { releaseView } from "../views/release.ts";
import { type AppContext, coordinatorOf } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** The environment, or the problem that says which of the two names is wrong. */
export async function requireEnvironment(
  c: AppContext,
  app: string,
  environment: string,
): Promise<EnvironmentStatus> {
  const status = await readEnvironment(c.var.db, app, environment);
  if (status) return status;
  throw noEnvironment(app, environment);
}

/** Its id alone: a trip to the database, and a small one. */
export async function requireEnvironmentId(c: AppContext, app: string, environment: string): Promise<string> {
  const id = await findEnvironment(c.var.db, app, environment);
  if (id !== undefined) return id;
  throw noEnvironment(app, environment);
}

const noEnvironment = (app: string, environment: string) =>
  new ProblemError({
    code: "not_found",
    detail: `there is no environment \`${environment}\` of an app \`${app}\``,
    next: [{ command: "sluice apply", when: "its manifest was never applied, or without this environment" }],
  });

export async function requireRelease(c: AppContext, id: string): Promise<ReleaseStatus> {
  const status = await readRelease(c.var.db, id);
  if (status) return status;
  throw new ProblemError({
    code: "not_found",
    detail: `there is no release \`${id}\``,
    next: [{ command: "sluice releases", when: "to see the releases of an environment" }],
  });
}

/** Status as D1 has it, and what only the coordinator knows. */
export async function statusView(c: AppContext, status: EnvironmentStatus): Promise<EnvironmentView> {
  const live = await coordinatorOf(c.env, status.environment.id).inspect();
  return environmentView(status, { live, now: c.var.now() });
}

export async function releaseStatusView(c: AppContext, status: ReleaseStatus): Promise<ReleaseView> {
  const { release, environment } = status;
  const { strategy, watch = "off" } = release.spec;
  const isJudged = (strategy.kind === "canary" || watch !== "off") && release.startedAt !== null;
  const [live, [lastVerdict]] = await Promise.all([
    coordinatorOf(c.env, environment.id).inspect(),
    isJudged ? listVerdicts(c.var.db, { release: release.id, before: null, limit: 1 }) : [],
  ]);
  return releaseView(status, { live, lastVerdict, now: c.var.now() });
}

/**
 * Names the state that a person decides on: it changes with each thing the coordinator or an apply wrote, and not with
 * request counters or an agent's heartbeat, which would make every If-Match stale.
 */
export const etagOf = ({ environment }: EnvironmentStatus): string =>
  `"${environment.id}-${environment.rev}"`;
