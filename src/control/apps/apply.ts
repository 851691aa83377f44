import { covers, type Grant, heldAbove, publicHost } from "../../domain/hostnames.ts";
import { WEB, workersOf } from "../../domain/processes/process.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { openness } from "../../domain/windows.ts";
import type { ApplyAnswer } from "../../protocol/api/apps.ts";
import { type Manifest, type ManifestError, parseManifest } from "../../protocol/manifest/manifest.ts";
import { toSpec } from "../../protocol/manifest/spec.ts";
import { newId } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import {
  type AppState,
  deleteHostnames,
  type EnvironmentRow,
  insertApp,
  insertEnvironment,
  insertHostname,
  type LiveUse,
  readAppState,
  readLiveUse,
  replaceManifest,
  replaceSpec,
} from "../store/apps.ts";
import { type Db, runBatch, type Statement, unlessOvertaken } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { type GrantRow, lookAgainAt, putGrant } from "../store/grants.ts";
import { renameSlots } from "../store/slots.ts";
import { accessoryViews } from "../views/accessory.ts";
import { type Difference, differences } from "../views/differences.ts";
import { looserApproval } from "./approval.ts";
import { grantsFor, type Leave } from "./grants.ts";
import { newEnvironment } from "./new-environment.ts";

const ATTEMPTS = 5;

export interface ApplyInput {
  readonly app: string;
  readonly text: string;
  readonly dryRun: boolean;
  readonly leave: Leave;
  readonly actor: string;
  readonly now: number;
}
export interface Applied {
  readonly answer: ApplyAnswer;
  /** Ids of environments whose coordinator has to look again. */
  readonly changed: readonly string[];
}

/**
 * Makes D1 say what the manifest says: all of it in one batch, or nothing. Each row is written only as it was read (see
 * `store/apps.ts`); losing a race against a coordinator or another apply means reading again.
 */
export async function applyManifest(db: Db, input: ApplyInput): Promise<Result<Applied, Refusal>> {
  const parsed = readManifest(input);
  if (!parsed.ok) return parsed;
  const manifest = parsed.value;
  const environments = Object.values(manifest.environments);
  const wanted = environments.flatMap(({ hostnames }) => hostnames);
  const patterns = environments.flatMap(({ previews }) => previews?.hostname ?? []);
  const applied = await unlessOvertaken(ATTEMPTS, async () => {
    const state = await readAppState(db, input.app, wanted);
    const refusal =
      endingOf(state, manifest) ??
      foreignHostname(state, input.app, wanted) ??
      ofPreview(state, wanted) ??
      looserApproval(state, manifest, input.leave) ??
      (await liveRemoval(db, state, manifest));
    if (refusal) return err(refusal);
    const named = [...wanted, ...patterns];
    const granted = grantsFor(
      { app: input.app, wanted: named, existing: state.grants, ...input.leave },
      input,
    );
    if (!granted.ok) return granted;
    const part = foreignPath(state, wanted, { app: input.app, grants: [...granted.value, ...state.grants] });
    if (part) return err(part);
    const change = plan({ state, manifest, granted: granted.value }, input);
    if (input.dryRun) return ok({ answer: change.answer, changed: [] });
    await runBatch(db, change.statements(db));
    return ok({ answer: change.answer, changed: change.changed });
  });
  if (applied) return applied;
  const detail = `${input.app} changed under this request ${ATTEMPTS} times: apply it again`;
  return err({ code: "conflict", detail });
}

function readManifest({ app, text, now }: ApplyInput): Result<Manifest, Refusal> {
  const parsed = parseManifest(text);
  if (!parsed.ok) return err(invalid(parsed.errors));
  const { manifest } = parsed;
  const errors = [...wrongApp(manifest, app), ...shutWindows(manifest, now)];
  return errors.length > 0 ? err(invalid(errors)) : ok(parsed.manifest);
}

function invalid(errors: readonly ManifestError[]): Refusal {
  const [first] = errors;
  const others = errors.at(-1)?.code === "more" ? "many" : errors.length - 1;
  const more = errors.length > 1 ? ` (and ${others} more)` : "";
  const where = first?.line === undefined ? "" : `line ${first.line}: `;
  return {
    code: errors.every(({ code }) => code === "not_landed") ? "not_landed" : "manifest_invalid",
    detail: `${where}${first?.detail ?? "the manifest is not valid"}${more}`,
    errors: errors.map(({ pointer, detail, line, column }) => ({
      pointer,
      detail,
      ...(line === undefined ? {} : { line }),
      ...(column === undefined ? {} : { column }),
    })),
  };
}

function wrongApp(manifest: Manifest, app: string): ManifestError[] {
  if (manifest.app === app) return [];
  const detail = `the manifest is of \`${manifest.app}\`, but was sent to /apps/${app}: send it to its own app`;
  return [{ code: "invalid", pointer: "app", detail }];
}

/** Windows that freezes leave no opening of would only be noticed by the deploy that they refuse. */
function shutWindows(manifest: Manifest, now: number): ManifestError[] {
  return Object.entries(manifest.environments).flatMap(([environment, { windows }]): ManifestError[] => {
    const state = openness(windows, now);
    if (state.open || state.opensAt !== null) return [];
    const pointer = `environments.${environment}.windows`;
    const detail = `\`${pointer}\` never opens within the next 60 days (${state.reason}): change \`allow\` or \`freeze\``;
    return [{ code: "invalid", pointer, detail }];
  });
}

/** What is on its way out takes nothing in. */
function endingOf({ app, environments }: AppState, manifest: Manifest): Refusal | undefined {
  const environment = environments.find(
    ({ name, ending, deletedAt }) =>
      ending !== null && deletedAt === null && Object.hasOwn(manifest.environments, name),
  );
  if (!app || (app.ending === null && !environment)) return undefined;
  const what = app.ending !== null || !environment ? app.name : `${app.name}/${environment.name}`;
  const at = app.ending !== null || !environment ? "" : ` -e ${environment.name}`;
  return {
    code: "conflict",
    detail: `${what} is being destroyed: apply it again when it is gone, and it is made anew`,
    next: [{ command: `sluice destroy -a ${app.name}${at}`, when: "to see what it still waits for" }],
  };
}

function foreignHostname(state: AppState, app: string, wanted: readonly string[]): Refusal | undefined {
  const taken = state.owners.find((owner) => owner.app !== app && wanted.includes(owner.hostname));
  if (!taken) return undefined;
  const owner = `${taken.app}/${taken.environment}`;
  return {
    code: "hostname_taken",
    detail: `${taken.hostname} belongs to ${owner}: remove it from that manifest and apply that first, or pick another`,
    next: [
      { command: `sluice status -a ${taken.app} -e ${taken.environment}`, when: "to see what it serves" },
    ],
  };
}

/** Its visitors would be led elsewhere, and it could not be taken down any more. */
function ofPreview({ environments, owners }: AppState, wanted: readonly string[]): Refusal | undefined {
  const taken = owners.find(
    ({ hostname, environmentId }) =>
      wanted.includes(hostname) && environments.some(({ id, spec }) => id === environmentId && spec.preview),
  );
  if (!taken) return undefined;
  const number = taken.environment.replace("pr-", "");
  return {
    code: "hostname_taken",
    detail: `${taken.hostname} belongs to the preview of pull request ${number}: take that down first, or pick another`,
    next: [{ command: `sluice preview list -a ${taken.app}`, when: "to see the previews that there are" }],
  };
}

/** A part of another app's paths is its visitors, too: as with another site's, an administrator says that it may be taken. */
function foreignPath(
  { owners }: AppState,
  wanted: readonly string[],
  { app, grants }: { readonly app: string; readonly grants: readonly Grant[] },
): Refusal | undefined {
  for (const hostname of wanted) {
    const holder = heldAbove(owners, hostname);
    if (!holder || holder.app === app) continue;
    if (owners.some((owner) => owner.hostname === hostname && owner.app === app)) continue;
    if (grants.some(({ pattern, claim }) => claim && covers(pattern, hostname))) continue;
    return {
      code: "hostname_taken",
      detail: `${hostname} is a part of ${holder.hostname}, which belongs to ${holder.app}/${holder.environment}, and no administrator said that ${app} may take it from there`,
      next: [
        { command: `sluice hostnames allow ${hostname} --claim -a ${app}`, when: "an administrator agrees" },
        {
          command: `sluice status -a ${holder.app} -e ${holder.environment}`,
          when: "to see what it serves",
        },
      ],
    };
  }
  return undefined;
}

/** An environment that vanishes from the manifest while it runs is more often a slip than a wish. */
async function liveRemoval(db: Db, state: AppState, manifest: Manifest): Promise<Refusal | undefined> {
  const gone = removed(state, manifest);
  if (gone.length === 0) return undefined;
  const uses = await readLiveUse(
    db,
    gone.map((row) => row.id),
  );
  const used = uses.find((use) => use.instances + use.releases > 0 || use.accessories !== "");
  return used && { code: "conflict", detail: whyKept(used) };
}

function whyKept({ environment, instances, releases, hosts, accessories }: LiveUse): string {
  const what = [
    accessories === "" ? "" : `accessories (${accessories.replaceAll(",", ", ")})`,
    instances > 0 ? `${instances} instances on ${hosts.replaceAll(",", ", ")}` : "",
    releases > 0 ? `${releases} releases in progress` : "",
  ];
  return `the manifest has no \`environments.${environment}\` any more, but it still has ${what.filter(Boolean).join(" and ")}: put it back, or first end what runs there (\`sluice destroy -e ${environment}\`)`;
}

/** Those that are there to stay, of the manifest's: previews come and go by themselves. */
const living = (state: AppState) =>
  state.environments.filter(
    ({ deletedAt, ending, spec }) => deletedAt === null && ending === null && !spec.preview,
  );
const removed = (state: AppState, manifest: Manifest) =>
  living(state).filter((row) => manifest.environments[row.name] === undefined);

interface Change {
  readonly answer: ApplyAnswer;
  readonly changed: readonly string[];
  readonly statements: (db: Db) => Statement[];
}

interface Wanted {
  readonly state: AppState;
  readonly manifest: Manifest;
  /** Grants to be added. */
  readonly granted: readonly GrantRow[];
}

function plan({ state, manifest, granted }: Wanted, input: ApplyInput): Change {
  const { app, dryRun, now, text } = input;
  const before = state.app ? parseManifest(state.app.manifest) : undefined;
  const changes = [
    ...(before?.ok ? differences(before.manifest, manifest) : [created(manifest)]),
    ...(before?.ok ? putBack(state, before.manifest, manifest) : []),
    ...(before?.ok ? madeAgain(state, before.manifest, manifest) : []),
  ];
  const answer = {
    app,
    created: !state.app,
    dryRun,
    environments: Object.keys(manifest.environments),
    changes,
    granted: granted.map(({ pattern }) => pattern),
    accessories: Object.keys(manifest.environments).flatMap((environment) =>
      accessoriesIn(state, specOf(manifest, environment), now),
    ),
  };
  const grants = (db: Db) => grantStatements(db, granted, input);
  if (changes.length === 0) return { answer, changed: [], statements: grants };
  const appId = state.app?.id ?? newId("app", now);
  const upserts = answer.environments.flatMap((name) => upsert({ state, manifest, name, appId, now }) ?? []);
  const deletions = removed(state, manifest);
  const statements = (db: Db) => [
    ...grants(db),
    state.app
      ? replaceManifest(db, state.app, text, now)
      : insertApp(db, { id: appId, name: app, manifest: text, ending: null, createdAt: now, updatedAt: now }),
    ...deletions.flatMap((row) => deleteEnvironment(db, row, now)),
    ...upserts.flatMap(({ write }) => write(db)),
    // Hostnames last: one that moves within the app was let go of by its old environment above.
    ...upserts.flatMap(({ id: environmentId, added }) =>
      added.map((hostname) => insertHostname(db, hostname, { environmentId, app })),
    ),
    insertEvent(db, {
      at: now,
      type: "app.applied",
      actor: input.actor,
      app,
      message: `${app}: ${state.app ? appliedWords(changes.length) : "created"}`,
      data: { changes },
    }),
  ];
  return { answer, changed: [...upserts, ...deletions].map(({ id }) => id), statements };
}

function grantStatements(db: Db, granted: readonly GrantRow[], { app, actor, now }: ApplyInput): Statement[] {
  if (granted.length === 0) return [];
  const patterns = granted.map(({ pattern }) => pattern);
  return [
    ...granted.map((row) => putGrant(db, row)),
    lookAgainAt(db, patterns),
    insertEvent(db, {
      at: now,
      type: "hostname.granted",
      actor,
      app,
      message: `${app} may have ${patterns.join(", ")}`,
      data: { patterns, claim: granted.some(({ claim }) => claim) },
    }),
  ];
}

/** Each as it is: those that the manifest has, and those that it has no more. Applying touches none. */
function accessoriesIn(state: AppState, spec: EnvironmentSpec, now: number): ApplyAnswer["accessories"] {
  const { environment } = spec;
  const row = state.environments.find(({ name }) => name === environment);
  const rows = state.accessories.filter(({ environmentId }) => environmentId === row?.id);
  return accessoryViews(spec, rows, now).map((view) => ({ ...view, environment }));
}

function specOf(manifest: Manifest, environment: string): EnvironmentSpec {
  const spec = toSpec(manifest, environment);
  if (!spec) throw new Error(`the manifest lost its environment ${environment}`);
  return spec;
}

interface Upsert {
  readonly id: string;
  /** Hostnames it does not own yet. */
  readonly added: readonly string[];
  readonly write: (db: Db) => Statement[];
}

/** What one environment needs written; undefined: nothing, it is as the manifest says. */
function upsert(at: {
  state: AppState;
  manifest: Manifest;
  name: string;
  appId: string;
  now: number;
}): Upsert | undefined {
  const { state, name, now } = at;
  const spec = specOf(at.manifest, name);
  const row = state.environments.find((environment) => environment.name === name);
  if (!row) {
    const fresh = newEnvironment(at.appId, spec, now);
    return { id: fresh.id, added: spec.hostnames, write: (db) => [insertEnvironment(db, fresh)] };
  }
  const owned = state.owners.filter(({ environmentId }) => environmentId === row.id).map((o) => o.hostname);
  const added = spec.hostnames.filter((hostname) => !owned.includes(hostname));
  const isSame = row.deletedAt === null && JSON.stringify(row.spec) === JSON.stringify(spec);
  if (isSame && added.length === 0 && owned.length === spec.hostnames.length) return undefined;
  const write = (db: Db) => [
    replaceSpec(db, row, { spec, deletedAt: null }),
    deleteHostnames(db, row.id, spec.hostnames),
    renameSlots(db, row.id, publicHost(spec.hostnames)),
  ];
  return { id: row.id, added, write };
}

const deleteEnvironment = (db: Db, row: EnvironmentRow, now: number): Statement[] => [
  replaceSpec(db, row, { spec: row.spec, deletedAt: now }),
  deleteHostnames(db, row.id, []),
];

/** Those that were destroyed since the last apply, and are named still. */
function madeAgain(state: AppState, before: Manifest, manifest: Manifest): Difference[] {
  const there = new Set(
    state.environments.flatMap(({ name, deletedAt }) => (deletedAt === null ? [name] : [])),
  );
  return Object.keys(manifest.environments)
    .filter((name) => before.environments[name] !== undefined && !there.has(name))
    .map((name) => ({ path: `environments.${name}`, before: null, after: "made again" }));
}

/** What `sluice scale` set since the last apply, and this one sets to what the manifest says. */
function putBack(state: AppState, before: Manifest, manifest: Manifest): Difference[] {
  return living(state).flatMap(({ name, spec }) => {
    const [was, next] = [toSpec(before, name), toSpec(manifest, name)];
    if (!was || !next) return [];
    const [scaled, had, gets] = [countsOf(spec), countsOf(was), countsOf(next)];
    return Object.keys(scaled).flatMap((process) => {
      const [now, then, after] = [scaled[process], had[process], gets[process]];
      if (now === then || now === after || after === undefined) return [];
      const path = process === WEB ? "replicas" : `processes.${process}.replicas`;
      return [{ path: `environments.${name}.${path} (scaled)`, before: now, after }];
    });
  });
}

const countsOf = (spec: EnvironmentSpec): Record<string, number> => ({
  [WEB]: spec.replicas,
  ...Object.fromEntries(workersOf(spec).map(([name, { replicas }]) => [name, replicas])),
});

/** A new app is one change. */
const created = ({ app }: Manifest): Difference => ({ path: "app", before: null, after: app });

const appliedWords = (count: number): string => `${count} ${count === 1 ? "change" : "changes"} applied`;
