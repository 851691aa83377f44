import { z } from "zod";
import { err, ok, type Result } from "../../../domain/result.ts";
import { parseJson } from "../../../protocol/json.ts";
import type { ControlEnv } from "../../env.ts";
import type { Db } from "../../store/db.ts";
import { type DeliveryRow, isOvertaken } from "../../store/notify/deliveries.ts";
import type { GitHubKeys } from "../keys.ts";
import type { Sent } from "../send-webhook.ts";
import type { GitHubBody } from "./body.ts";
import { ask, forgetToken, type Hub, openHub } from "./hub.ts";

/** GitHub wants a second between two that write (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api). */
const QUIET_MS = 1_000;
const DONE: Sent = { ok: true, status: 200, error: null, retryAfterMs: null, gone: false, quietMs: QUIET_MS };
const PER_PAGE = 100;

interface At {
  readonly env: ControlEnv;
  readonly db: Db;
  readonly now: number;
}

/**
 * Writes how far a release is: the status of its Deployment, which is made where there is none yet, and that of its commit.
 * Done again it finds the same Deployment. Of one that was told more already an older step, sent again, says nothing.
 */
export async function sendToGitHub(delivery: DeliveryRow, github: GitHubKeys, at: At): Promise<Sent> {
  // Written by `deliveryFor`; null: a test.
  const body = JSON.parse(delivery.body) as GitHubBody | null;
  if (body && (await isOvertaken(at.db, delivery))) return { ...DONE, status: null };
  const hub = await openHub(delivery.webhookId, github, { ...at, tries: delivery.attempts + 1 });
  if (!hub.ok) return hub.error;
  const done = body ? await tell(hub.value, github, body) : await look(hub.value, github);
  if (done.ok) return DONE;
  // An installation's token ends before its time where somebody changes the app: the next try asks for another.
  if (done.error.status === 401 && forgetToken(delivery.webhookId)) return { ...done.error, gone: false };
  return done.error;
}

/** Reads what a target that writes as much may read: of the commits' statuses none can be named, but the repository may be. */
const look = (hub: Hub, github: GitHubKeys): Promise<Result<unknown, Sent>> =>
  github.deployment
    ? listDeployments(hub, "per_page=1")
    : ask(hub, z.object({ id: z.number() }), `/repos/${hub.repository}`);

async function tell(hub: Hub, github: GitHubKeys, body: GitHubBody): Promise<Result<unknown, Sent>> {
  const told = github.deployment ? await tellDeployment(hub, body) : ok(null);
  if (!told.ok || !github.commitStatus || !body.commit) return told;
  return ask(hub, z.object({ id: z.number() }), `/repos/${hub.repository}/statuses/${body.sha}`, {
    ...body.commit,
    description: body.description,
    ...(body.logUrl !== null && { target_url: body.logUrl }),
  });
}

async function tellDeployment(hub: Hub, body: GitHubBody): Promise<Result<unknown, Sent>> {
  const found = await findDeployment(hub, body);
  if (!found.ok) return found;
  // What nobody was told of need not be said to be over.
  if (found.value === undefined && body.state === "inactive") return ok(null);
  const made = found.value === undefined ? await makeDeployment(hub, body) : ok(found.value);
  if (!made.ok) return made;
  const told = await ask(hub, deploymentSchema.pick({ id: true }), `${made.value}/statuses`, {
    state: body.state,
    description: body.description,
    // Which ones are over control says itself, each by name.
    auto_inactive: false,
    ...(body.logUrl !== null && { log_url: body.logUrl }),
    ...(body.environmentUrl !== null && { environment_url: body.environmentUrl }),
  });
  // Somebody deleted it just now: the next try makes another.
  return told.ok || told.error.status !== 404 ? told : err({ ...told.error, gone: false });
}

const deploymentSchema = z.object({
  id: z.number().int(),
  /** Whatever its maker put there; of old ones JSON in a text. */
  payload: z.unknown(),
});

const listDeployments = (hub: Hub, query: URLSearchParams | string) =>
  ask(hub, z.array(deploymentSchema), `/repos/${hub.repository}/deployments?${query}`);

/** The path of the release's own; undefined: there is none. */
async function findDeployment(hub: Hub, body: GitHubBody): Promise<Result<string | undefined, Sent>> {
  const { sha, environment } = body;
  for (let page = 1; ; page++) {
    const query = { sha, environment, task: "deploy", per_page: String(PER_PAGE), page: String(page) };
    const listed = await listDeployments(hub, new URLSearchParams(query));
    if (!listed.ok) return listed;
    const own = listed.value.find(({ payload }) => releaseIn(payload) === body.release);
    if (own) return ok(pathOf(hub, own.id));
    if (listed.value.length < PER_PAGE || page === MOST_PAGES) return ok(undefined);
  }
}
/** Of one commit in one environment. */
const MOST_PAGES = 3;

const payloadSchema = z.object({ sluice_release: z.string() });
const releaseIn = (payload: unknown): string | undefined =>
  payloadSchema.safeParse(typeof payload === "string" ? parseJson(payload) : payload).data?.sluice_release;

/** Without the first two GitHub would merge branches, or refuse for checks (https://docs.github.com/rest/deployments/deployments). */
async function makeDeployment(hub: Hub, body: GitHubBody): Promise<Result<string, Sent>> {
  const made = await ask(hub, deploymentSchema, `/repos/${hub.repository}/deployments`, {
    auto_merge: false,
    required_contexts: [],
    ref: body.sha,
    task: "deploy",
    environment: body.environment,
    description: body.description,
    payload: { sluice_release: body.release },
    production_environment: body.isProduction,
    transient_environment: body.isTransient,
  });
  return made.ok ? ok(pathOf(hub, made.value.id)) : made;
}

const pathOf = ({ repository }: Hub, id: number): string => `/repos/${repository}/deployments/${id}`;
