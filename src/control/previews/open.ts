import { coveringGrant, publicHost } from "../../domain/hostnames.ts";
import { previewName } from "../../domain/previews/hostname.ts";
import { previewSpec, wrongImage } from "../../domain/previews/preview.ts";
import type { PreviewRule } from "../../domain/previews/rule.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import { firstPlaces } from "../../domain/rollout/placing/first-places.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { moment } from "../../domain/times.ts";
import { newEnvironment } from "../apps/new-environment.ts";
import type { ControlEnv } from "../env.ts";
import type { Refusal } from "../refusal.ts";
import { secretsLack, wantedBy } from "../secrets/secrets.ts";
import {
  deleteHostnames,
  type EnvironmentRow,
  insertEnvironment,
  insertHostname,
  replaceSpec,
} from "../store/apps.ts";
import { type Db, runBatch, type Statement, unlessOvertaken } from "../store/db.ts";
import { loadEnvironment, vacantFacts } from "../store/environments.ts";
import { insertEvent } from "../store/events.ts";
import { readGrants } from "../store/grants.ts";
import {
  countOpen,
  type PreviewRow,
  putPreview,
  readNamed,
  readOwner,
  readPreview,
  type Template,
} from "../store/previews/previews.ts";
import type { PreviewSource } from "../store/schema/previews.ts";
import { renameSlots } from "../store/slots.ts";

const ATTEMPTS = 5;
/** How long what is being taken down has mostly gone by. */
const ENDING_S = 5;

export interface Opening {
  readonly app: string;
  readonly number: number;
  readonly image: string;
  /** Of the CI run that asks, rising; null: a person does. */
  readonly run: number | null;
  readonly isFork: boolean;
  readonly source: PreviewSource;
  readonly actor: string;
  readonly now: number;
}
export interface Opened {
  readonly environmentId: string;
  readonly name: string;
  readonly row: PreviewRow;
}

interface Desk {
  readonly db: Db;
  readonly env: ControlEnv;
  readonly template: Template;
  readonly rule: PreviewRule;
}

/**
 * Makes a pull request's preview, or has it stay for another while: its environment, its hostname and its row in one batch, once
 * it is known that a release may begin there.
 */
export async function openPreview(desk: Desk, asked: Opening): Promise<Result<Opened, Refusal>> {
  const spec = specFor(desk, asked);
  const image = wrongImage(spec, asked.image);
  if (image !== null) return err({ code: "invalid_request", detail: image, next: OTHER_IMAGES });
  if (asked.isFork && !desk.rule.forks) return err(OF_FORK);
  const opened = await unlessOvertaken(ATTEMPTS, () => open(desk, asked, spec));
  const detail = `the preview of pull request ${asked.number} changed under this request ${ATTEMPTS} times: ask again`;
  return opened ?? err({ code: "conflict", detail });
}

const OTHER_IMAGES = [
  {
    command: "sluice apply",
    when: "to allow another repository, once `previews.image` in the manifest names it",
  },
];
const OF_FORK: Refusal = {
  code: "forbidden",
  detail:
    "the pull request comes from a fork: its code is a stranger's, and gets no preview unless the manifest says `previews: { forks: true }`",
};

function specFor({ template, rule }: Desk, { number }: Opening): EnvironmentSpec {
  const { id, spec } = template.environment;
  return previewSpec(spec, rule, { number, templateId: id });
}

async function open(desk: Desk, asked: Opening, spec: EnvironmentSpec): Promise<Result<Opened, Refusal>> {
  const { db, rule, template } = desk;
  const name = previewName(asked.number);
  const [row, before, count, owner, grants] = await Promise.all([
    readNamed(db, template.appId, name),
    readPreview(db, asked.app, asked.number),
    countOpen(db, asked.app),
    readOwner(db, publicHost(spec.hostnames)),
    readGrants(db, asked.app),
  ]);
  const living = row?.deletedAt === null ? row : undefined;
  const refusal =
    older(before, asked) ??
    inTheWay(living, asked) ??
    (coveringGrant(grants, publicHost(spec.hostnames)) ? undefined : notGranted(asked, rule)) ??
    (owner && owner.environmentId !== living?.id ? taken(spec, owner) : undefined) ??
    (before?.closedAt === null || count < rule.max ? undefined : full(asked, rule));
  if (refusal) return err(refusal);
  const fresh = living ?? newEnvironment(template.appId, spec, asked.now);
  const cause = (await lackOf(desk, spec, fresh.id)) ?? (await noPlace(desk, spec, fresh, living, asked.now));
  if (cause) return err(cause);
  const next = rowOf(desk, asked, { environmentId: fresh.id, before });
  await runBatch(db, [
    ...writeEnvironment(db, { spec, row: living, fresh }),
    putPreview(db, next, { max: rule.max, before }),
    ...(owner
      ? []
      : [insertHostname(db, publicHost(spec.hostnames), { environmentId: fresh.id, app: asked.app })]),
    eventOf(db, asked, { environmentId: fresh.id, row: next, isNew: !living }),
  ]);
  return ok({ environmentId: fresh.id, name, row: next });
}

function writeEnvironment(
  db: Db,
  { spec, row, fresh }: { spec: EnvironmentSpec; row: EnvironmentRow | undefined; fresh: EnvironmentRow },
): Statement[] {
  if (!row) return [insertEnvironment(db, fresh)];
  return [
    replaceSpec(db, row, { spec, deletedAt: null }),
    deleteHostnames(db, row.id, spec.hostnames),
    renameSlots(db, row.id, publicHost(spec.hostnames)),
  ];
}

/** Of two runs the newer one wins, whichever comes last; and what was closed is not opened by a job of before. */
function older(before: PreviewRow | undefined, { run, number }: Opening): Refusal | undefined {
  if (!before || run === null || before.run === null || run >= before.run) return undefined;
  const since = before.closedAt === null ? "is a newer one's" : "was closed since";
  const detail = `the preview of pull request ${number} ${since}: this is run ${run}, and run ${before.run} was here`;
  return { code: "stale_step", detail };
}

function inTheWay(row: EnvironmentRow | undefined, { app }: Opening): Refusal | undefined {
  if (!row) return undefined;
  const name = `${app}/${row.name}`;
  if (!row.spec.preview)
    return { code: "conflict", detail: `${name} is an environment of the manifest: rename it there` };
  if (row.ending === null) return undefined;
  const detail = `${name} is still being taken down: ask again in a moment, and it is made anew`;
  const next = [{ command: `sluice preview list -a ${app}`, when: "to see whether it is gone" }];
  return { code: "conflict", detail, next, retryAfterS: ENDING_S };
}

const taken = (spec: EnvironmentSpec, owner: { app: string; environment: string }): Refusal => ({
  code: "hostname_taken",
  detail: `${spec.hostnames[0]} belongs to ${owner.app}/${owner.environment}: change \`previews.hostname\` in the manifest`,
});

const notGranted = ({ app }: Opening, { hostname }: PreviewRule): Refusal => ({
  code: "hostname_not_granted",
  detail: `${app} may not have ${hostname} any more: an administrator took the grant back`,
  next: [{ command: `sluice hostnames allow '${hostname}' -a ${app}`, when: "an administrator agrees" }],
});

const full = ({ app }: Opening, { max }: PreviewRule): Refusal => ({
  code: "conflict",
  detail: `${app} has ${max} previews, as many as its manifest allows (\`previews.max\`): take one down first`,
  next: [{ command: `sluice preview list -a ${app}`, when: "to see them, and how long each stays" }],
});

function lackOf({ db, env }: Desk, spec: EnvironmentSpec, id: string) {
  const { secrets = [], accessories = {} } = spec;
  const names = new Set([...secrets, ...Object.values(accessories).flatMap((one) => one.secrets)]);
  return secretsLack(db, env, wantedBy({ id, spec }, [...names]));
}

/** A preview that would never start would only take a place among those that there may be. */
async function noPlace(
  { db }: Desk,
  spec: EnvironmentSpec,
  { id }: EnvironmentRow,
  living: EnvironmentRow | undefined,
  now: number,
): Promise<Refusal | undefined> {
  const loaded = living && (await loadEnvironment(db, id, { withHosts: true }));
  const facts = loaded ? { ...loaded.facts, spec } : await vacantFacts(db, id, spec);
  const [problem] = firstPlaces(facts, now).problems;
  return problem && { code: problem.code, detail: problem.detail };
}

function rowOf(
  { template, rule }: Desk,
  { app, number, now, run, source, actor }: Opening,
  { environmentId, before }: { environmentId: string; before: PreviewRow | undefined },
): PreviewRow {
  const isOpen = before?.closedAt === null;
  return {
    app,
    number,
    environmentId,
    templateId: template.environment.id,
    createdAt: isOpen ? before.createdAt : now,
    updatedAt: Math.max(now, (before?.updatedAt ?? 0) + 1),
    expiresAt: now + rule.ttlMs,
    closedAt: null,
    closedCause: null,
    run: run ?? before?.run ?? null,
    source,
    by: actor,
  };
}

function eventOf(
  db: Db,
  { app, number, actor, now, image }: Opening,
  { environmentId, row, isNew }: { environmentId: string; row: PreviewRow; isNew: boolean },
) {
  const until = new Date(row.expiresAt).toISOString();
  const what = isNew ? "is made" : "stays";
  return insertEvent(db, {
    at: now,
    type: isNew ? "preview.opened" : "preview.renewed",
    actor,
    app,
    environment: previewName(number),
    environmentId,
    message: `the preview of pull request ${number} ${what} until ${moment(row.expiresAt)}: ${image}`,
    data: { number, image, expiresAt: until, ...row.source },
  });
}
