import { createRoute, z } from "@hono/zod-openapi";
import { previewName } from "../../../domain/previews/hostname.ts";
import type { Result } from "../../../domain/result.ts";
import {
  closedPreviewSchema,
  openedPreviewSchema,
  openPreviewSchema,
  type PullPreview,
  pullNumberSchema,
  pullPreviewSchema,
} from "../../../protocol/api/previews/pulls.ts";
import { commandAccessory } from "../../apps/accessories.ts";
import { tendHostnamesSoon } from "../../cloudflare/tend-hostnames.ts";
import type { CreateReleaseInput } from "../../environment/coordinator-port.ts";
import { authorize } from "../../http/auth.ts";
import {
  type AppContext,
  coordinatorOf,
  inBackground,
  orRefuse,
  type Principal,
} from "../../http/context.ts";
import { parseKey } from "../../http/idempotency.ts";
import { ProblemError } from "../../http/problems.ts";
import { releaseStatusView, requireEnvironment, requireRelease } from "../../http/require.ts";
import { appParams, body, json, newRouter } from "../../http/route-parts.ts";
import { iso } from "../../iso.ts";
import { objectIn } from "../../objects.ts";
import { takeDown } from "../../previews/close.ts";
import { openPreview } from "../../previews/open.ts";
import type { Refusal } from "../../refusal.ts";
import type { Db } from "../../store/db.ts";
import { listPreviews, type PreviewRow, readPreview, readTemplate } from "../../store/previews/previews.ts";
import { readEnvironment } from "../../store/status.ts";
import { endingView } from "../../views/ending.ts";
import { besideOf } from "../endings.ts";

const tags = ["previews"];
const pullParams = appParams.extend({ number: pullNumberSchema });

const open = createRoute({
  method: "post",
  path: "/api/v1/apps/{app}/previews",
  summary: "Open a pull request's preview, or renew it",
  description:
    "Makes an environment of its own after the one whose manifest has `previews`, releases the image there, and has it stay for the time that the manifest says. Of two runs the newer wins.",
  tags,
  request: {
    params: appParams,
    headers: z.object({
      "idempotency-key": z
        .string()
        .optional()
        .describe("The same key and body again answer the same release"),
    }),
    body: body(openPreviewSchema),
  },
  responses: { 202: json(openedPreviewSchema, "It is on its way; follow the release by its events") },
});

const list = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/previews",
  summary: "An app's previews",
  tags,
  request: { params: appParams },
  responses: { 200: json(z.object({ items: z.array(pullPreviewSchema) }), "All of them, by number") },
});

const close = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/previews/{number}",
  summary: "Take a pull request's preview down",
  description:
    "Everything of it goes. Said again it answers how far that is; of one that is not there, nothing.",
  tags,
  request: {
    params: pullParams,
    query: z.object({
      run: z.coerce
        .number()
        .int()
        .min(0)
        .optional()
        .describe("Number of the CI run: jobs of before come too late"),
    }),
  },
  responses: { 202: json(closedPreviewSchema, "It is on its way out, or not there") },
});

/** Pull requests' previews: an environment each, which comes and goes with it. */
export const pullPreviewRoutes = () =>
  newRouter()
    .openapi(open, async (c) => {
      const { app } = c.req.valid("param");
      const input = c.req.valid("json");
      const { number } = input;
      const { principal, desk, environmentId } = await opened(c, app, input);
      inBackground(c, "hostnames.not_tended", tendHostnamesSoon(c.env));
      await startAccessories(c, app, previewName(number), principal.actor);
      const key = c.req.header("idempotency-key");
      const made = await releaseTo(c, environmentId, {
        ...{ image: input.image, version: null, git: input.git ?? null, hold: false, override: false },
        actor: principal.actor,
        startedAs: principal.identities,
        requestKey: key === undefined ? null : `${principal.keyScope}:${parseKey(key)}`,
      });
      const { release } = orRefuse(made);
      c.header("location", `/api/v1/releases/${release}`);
      const view = await releaseStatusView(c, await requireRelease(c, release));
      return c.json({ preview: await previewView(desk.db, app, number), release: view }, 202);
    })
    .openapi(list, async (c) => {
      const { app } = c.req.valid("param");
      const { environment, pull } = c.var.principal;
      authorize(c, { role: "viewer", app, environment, action: "preview" });
      const views = (await listPreviews(c.var.db, app)).map(viewOf);
      return c.json({ items: views.filter(({ number }) => pull == null || number === pull.number) }, 200);
    })
    .openapi(close, async (c) => {
      const { app, number: written } = c.req.valid("param");
      const number = Number(written);
      const template = await readTemplate(c.var.db, app);
      const principal = authorizeFor(c, app, template?.environment.name ?? null);
      const run = ownPull(principal, number, c.req.valid("query").run);
      const row = await readPreview(c.var.db, app, number);
      if (!row) return c.json({ ending: null }, 202);
      if (row.run !== null && run !== null && run < row.run) throw new ProblemError(comesLate(row.run, run));
      const { actor } = principal;
      const by = { cause: `asked by ${actor}`, run, actor, now: c.var.now() };
      const { environmentId } = row;
      if (row.closedAt === null) await takeDown(c.var.db, c.env, { app, number, environmentId, ...by });
      return c.json({ ending: await endingOf(c, row, actor) }, 202);
    });

/** The preview's environment, made or renewed. */
async function opened(c: AppContext, app: string, input: z.output<typeof openPreviewSchema>) {
  const { db, now } = c.var;
  const template = await readTemplate(db, app);
  const principal = authorizeFor(c, app, template?.environment.name ?? null);
  const run = ownPull(principal, input.number, input.run);
  const rule = template?.environment.spec.previews;
  if (!template || !rule) throw new ProblemError(noPreviews(app));
  const { git, url, image, number, fork: isFork } = input;
  const source = {
    ...(git ? { sha: git.sha } : {}),
    ...(git?.branch === undefined ? {} : { branch: git.branch }),
    ...(url === undefined ? {} : { url }),
  };
  const desk = { db, env: c.env, template, rule };
  const asked = { app, number, image, run, isFork, source, actor: principal.actor, now: now() };
  const { environmentId } = orRefuse(await openPreview(desk, asked));
  return { principal, desk, environmentId };
}

/** How far it is; null: it is gone. */
async function endingOf(c: AppContext, { app, number, environmentId }: PreviewRow, by: string) {
  const environment = previewName(number);
  const status = await readEnvironment(c.var.db, app, environment);
  if (status?.environment.id !== environmentId) return null;
  return endingView({ app, environment, by, now: c.var.now() }, [status], await besideOf(c, [status]));
}

const authorizeFor = (c: AppContext, app: string, environment: string | null): Principal =>
  authorize(c, { role: "deployer", app, environment, action: "preview" });

/** The run's number: as its CI system signed it, where it did. Refused where the job is another pull request's. */
function ownPull({ actor, pull }: Principal, number: number, told: number | undefined): number | null {
  if (!pull) return told ?? null;
  if (pull.number === number) return pull.run;
  const detail = `${actor} is a job of pull request ${pull.number}, and may have that preview alone, not that of ${number}`;
  throw new ProblemError({ code: "forbidden", detail });
}

const noPreviews = (app: string): Refusal => ({
  code: "not_found",
  detail: `no environment of ${app} has \`previews\` in its manifest, as it was applied: pull requests get none`,
  next: [{ command: "sluice apply", when: "the manifest has them by now" }],
});

const comesLate = (newer: number, run: number): Refusal => ({
  code: "stale_step",
  detail: `run ${newer} was here after run ${run}: the pull request was opened again, and its preview stays`,
});

/** A newer push takes the place of the one before; one that has traffic already is let end, which takes seconds. */
async function releaseTo(
  c: AppContext,
  environmentId: string,
  input: Omit<CreateReleaseInput, "whenBusy">,
): Promise<Result<{ release: string }, Refusal>> {
  const coordinator = coordinatorOf(c.env, environmentId);
  const made = await coordinator.createRelease({ ...input, whenBusy: "supersede" });
  if (made.ok || made.error.code !== "release_in_progress") return made;
  return coordinator.createRelease({ ...input, whenBusy: "queue" });
}

/** Those that come along. What can't be started now is told by the release, which waits for them. */
async function startAccessories(c: AppContext, app: string, name: string, actor: string): Promise<void> {
  const { environment } = await requireEnvironment(c, app, name);
  const lackOf = async () => undefined;
  for (const accessory of Object.keys(environment.spec.accessories ?? {})) {
    const command = {
      environment,
      name: accessory,
      action: "start",
      actor,
      lackOf,
      now: c.var.now(),
    } as const;
    const host = orRefuse(await commandAccessory(c.var.db, command));
    if (host !== null) inBackground(c, "host.not_woken", objectIn(c.env.HOST_LINK, host, c.env).wake());
  }
}

type Listed = Awaited<ReturnType<typeof listPreviews>>[number];

function viewOf(row: Listed): PullPreview {
  const { sha, branch, url } = row.source;
  const isDown = row.closedAt !== null || row.ending !== null;
  return {
    app: row.app,
    number: row.number,
    environment: previewName(row.number),
    url: `https://${row.spec.hostnames[0]}`,
    state: isDown ? "down" : row.stableReleaseId === null ? "waiting" : "serving",
    createdAt: iso(row.createdAt),
    expiresAt: iso(row.expiresAt),
    git: { ...(sha === undefined ? {} : { sha }), ...(branch === undefined ? {} : { branch }) },
    pull: url ?? null,
    by: row.by,
    cause: row.closedCause,
  };
}

async function previewView(db: Db, app: string, number: number): Promise<PullPreview> {
  const row = (await listPreviews(db, app)).find((one) => one.number === number);
  if (row) return viewOf(row);
  throw new ProblemError({ code: "conflict", detail: `the preview of ${number} was taken down meanwhile` });
}
