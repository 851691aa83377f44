import { z } from "zod";
import type { Move } from "../../domain/commands/moves.ts";
import type { EnvironmentView } from "../../protocol/api/environments.ts";
import type { PriceView } from "../../protocol/api/plans.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import { problemSchema } from "../../protocol/problem.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { etagOf, requireEnvironment, statusView } from "../http/require.ts";
import { type Need, reaches } from "../identity/roles.ts";
import { ownRelease } from "../routes/approvals.ts";
import { movePlanView, priceOfGoingOn } from "../routes/move-plan.ts";
import { page } from "./layout.tsx";
import { Name, percent, SplitBar, Up } from "./pieces.tsx";

/** What a person can do about an environment's traffic, who may, and what the button looks like. */
export const MOVES = {
  approve: { name: "Approve", role: "approver", tone: "main" },
  reject: { name: "Reject", role: "approver", tone: "stop" },
  promote: { name: "Promote", role: "approver", tone: "main" },
  pause: { name: "Pause", role: "approver", tone: "" },
  resume: { name: "Resume", role: "approver", tone: "" },
  abort: { name: "Abort", role: "approver", tone: "stop" },
  rollback: { name: "Roll back", role: "deployer", tone: "stop" },
  weight: { name: "Set weights", role: "deployer", tone: "" },
} as const satisfies Record<string, { name: string; role: Need["role"]; tone: string }>;
export type MoveName = keyof typeof MOVES;

export interface Place {
  readonly app: string;
  readonly env: string;
}
interface MovePlace extends Place {
  readonly move: string;
}
/** Sends a request through the API's own doors. */
export type Forward = (c: AppContext, request: Request) => Response | Promise<Response>;

export const moveHref = ({ app, env }: Place, move: MoveName) => `/ui/apps/${app}/${env}/moves/${move}`;

/** Null: the reader may; else who may. */
export function whoMay(c: AppContext, { app, env }: Place, move: MoveName): string | null {
  const { role } = MOVES[move];
  const may = reaches(c.var.principal, { role, app, environment: env });
  return may ? null : `needs the role ${role} for ${app}/${env}`;
}

function requireMove(move: string): MoveName {
  if (Object.hasOwn(MOVES, move)) return move as MoveName;
  throw new ProblemError({ code: "not_found", detail: `there is no move \`${move.slice(0, 40)}\`` });
}

interface Told {
  readonly says: readonly string[];
  readonly split: readonly {
    readonly release: string;
    readonly version: string;
    readonly weight: number;
  }[];
  readonly refusal: string | null;
  readonly price?: PriceView | null;
}

/** What would happen, and the button that makes it so. */
export async function movePage(c: AppContext, { app, env, move: named }: MovePlace): Promise<Response> {
  const move = requireMove(named);
  authorize(c, { role: "viewer", app, environment: env });
  const status = await requireEnvironment(c, app, env);
  const view = await statusView(c, status);
  const told = await tell(c, status.environment.id, view, move);
  const lack = whoMay(c, { app, env }, move);
  const { name, tone } = MOVES[move];
  const back = `/ui/apps/${app}/${env}`;
  return page(c, {
    title: `${name} · ${app} ${env}`,
    section: "/",
    children: (
      <>
        <Up app={app} env={env} />
        <h1>{name}?</h1>
        <p class="lead">What would happen now:</p>
        <form class="card" method="post" action={moveHref({ app, env }, move)}>
          {told.refusal && <p class="bad">It would be refused: {told.refusal}</p>}
          {told.says.length > 0 && (
            <ul>
              {told.says.map((line) => (
                <li>
                  <Name>{line}</Name>
                </li>
              ))}
            </ul>
          )}
          {told.split.length > 0 && move !== "weight" && <Then split={told.split} view={view} />}
          {told.price && <Price price={told.price} />}
          {move === "weight" && <WeightFields view={view} />}
          <Seen view={view} etag={etagOf(status)} />
          {(move === "abort" || move === "reject") && (
            <label>
              Reason <input name="reason" maxlength={500} autocomplete="off" />
            </label>
          )}
          <div class="row">
            <button class={tone} type="submit" disabled={lack !== null || told.refusal !== null}>
              {name}
            </button>
            <a class="btn" href={back}>
              Leave it
            </a>
          </div>
          {lack && <p>This {lack}.</p>}
        </form>
      </>
    ),
  });
}

/** Where it waits for an approval: the step that this is for, if it is for one. */
const seenStep = ({ active }: EnvironmentView): number | null | undefined =>
  active?.approval?.waits ? active.approval.step : begunOf(active);

const begunOf = (active: EnvironmentView["active"]): number | undefined =>
  active?.step ? active.step.index - (active.step.since === null ? 1 : 0) : undefined;

/** What the page shows is what is acted upon: if it has moved on, the API refuses. */
const Seen = ({ view, etag }: { view: EnvironmentView; etag: string }) => (
  <>
    <input type="hidden" name="release" value={view.active?.id ?? ""} />
    <input type="hidden" name="step" value={String(seenStep(view) ?? "")} />
    <input type="hidden" name="from" value={view.rollback.from?.release ?? ""} />
    <input type="hidden" name="digest" value={view.active?.approval?.digest ?? ""} />
    <input type="hidden" name="etag" value={etag} />
  </>
);

const Then = ({ split, view }: { split: Told["split"]; view: EnvironmentView }) => (
  <div>
    <p>Traffic then: {split.map(({ version, weight }) => `${version} ${percent(weight)}`).join(", ")}</p>
    <SplitBar shares={split.map((one) => ({ ...one, fill: one.release === view.live?.id ? 0 : 1 }))} />
  </div>
);

/** How long each step to come takes to decide, and whom a bad release would hurt until it is gone. */
const Price = ({ price }: { price: PriceView }) => (
  <>
    {price.says.length > 0 && (
      <ul>
        {price.says.map((line) => (
          <li>{line}</li>
        ))}
      </ul>
    )}
    {price.faults.length > 0 && (
      <>
        <p>If it were bad from there on, by {Number(price.traffic.rate.toPrecision(2))} requests a second:</p>
        <ul>
          {price.faults.map(({ words }) => (
            <li>{words}</li>
          ))}
        </ul>
      </>
    )}
  </>
);

const WeightFields = ({ view }: { view: EnvironmentView }) => (
  <>
    {couldServe(view).map(({ release, version, weight }) => (
      <label>
        <span>
          {version} <span class="soft">has {percent(weight)}</span>
        </span>
        <input
          name={`weight:${release}`}
          type="number"
          min="0"
          max="100"
          step="0.01"
          value={String(weight)}
          required
        />
      </label>
    ))}
  </>
);

const loneWords = (version: string | undefined): string =>
  version === undefined ? "nothing could serve" : `${version} alone could serve, and has it all`;

/** Releases with a ready instance, with what they have now. */
export function couldServe({ instances, split }: EnvironmentView) {
  const ready = new Map(instances.filter((one) => one.ready).map((one) => [one.release, one.version]));
  for (const { release, version } of split) ready.set(release, version);
  return [...ready].map(([release, version]) => ({
    release,
    version,
    weight: split.find((one) => one.release === release)?.weight ?? 0,
  }));
}

const PLANNED: readonly Move[] = ["promote", "abort", "rollback"];

async function tell(c: AppContext, id: string, view: EnvironmentView, move: MoveName): Promise<Told> {
  const planned = PLANNED.find((name) => name === move);
  if (planned) {
    const plan = await movePlanView(c, id, planned);
    return { ...plan, refusal: plan.refusal?.detail ?? null };
  }
  const { active, split } = view;
  if (move === "approve" || move === "reject") {
    const told = tellApproval(view, move);
    if (move === "reject" || told.refusal !== null) return told;
    const own = await ownRelease(c, view.active?.id ?? "");
    return { ...told, refusal: own?.detail ?? null, price: await priceOfGoingOn(c, id) };
  }
  if (move === "weight")
    return {
      says: ["The split becomes what stands here, at once and for every host. It has to sum to 100 %."],
      split,
      refusal: couldServe(view).length > 1 ? null : loneWords(couldServe(view)[0]?.version),
    };
  if (!active) return { says: [], split, refusal: `nothing is on its way: there is nothing to ${move}` };
  const says =
    move === "pause"
      ? `${active.version} stays where it is, with ${percent(active.weight)}, until it is resumed, promoted or aborted`
      : `${active.version} goes on with the step it is in`;
  const isPaused = active.paused !== null;
  const refusal =
    move === "pause" && isPaused
      ? `${active.version} is paused already`
      : move === "resume" && !isPaused
        ? `${active.version} is not paused`
        : null;
  return { says: [says], split, refusal };
}

function tellApproval({ active, live }: EnvironmentView, move: "approve" | "reject"): Told {
  const approval = active?.approval;
  if (!active || !approval?.waits) return { says: [], split: [], refusal: "nothing waits for an approval" };
  const { digest, needed, given } = approval;
  if (move === "reject") {
    const split = live ? [{ release: live.id, version: live.version, weight: 100 }] : [];
    return { says: [`${active.version} ends; who serves now keeps the traffic`], split, refusal: null };
  }
  const says = [
    `${active.version} (${digest}, started by ${active.by}) goes on: ${nextOf(active)}`,
    `It has ${given.length} of the ${needed} approvals it needs`,
  ];
  return { says, split: [], refusal: null };
}

/** What begins once it is approved. */
function nextOf({ approval, step, plan }: ReleaseView): string {
  const index = approval?.before === "step" && step ? step.index + 1 : 0;
  const label = plan.steps[index]?.label ?? "its instances take over one by one";
  return approval?.before === "release" ? `it is started, then ${label}` : label;
}

const seenSchema = z.object({
  release: z.string().max(64).catch(""),
  step: z.coerce.number().int().min(-1).optional().catch(undefined),
  digest: z.string().max(500).catch(""),
  from: z.string().max(64).catch(""),
  etag: z.string().max(200).catch(""),
  reason: z.string().max(500).catch(""),
});

/** A form that was sent: the API's own request, by the same person, and then back to the environment. */
export async function makeMove(c: AppContext, place: MovePlace, forward: Forward): Promise<Response> {
  const move = requireMove(place.move);
  const { app, env } = place;
  authorize(c, { role: MOVES[move].role, app, environment: env });
  const form = await c.req.parseBody();
  const response = await forward(c, apiRequest(c, { app, env }, move, form));
  if (!response.ok) {
    const { code, detail, next } = problemSchema.parse(await response.json());
    throw new ProblemError({ code, detail, next });
  }
  await response.body?.cancel();
  return c.redirect(`/ui/apps/${app}/${env}`, 303);
}

function apiRequest(
  c: AppContext,
  { app, env }: Place,
  move: MoveName,
  form: Record<string, unknown>,
): Request {
  const { release, step, from, etag, reason, digest } = seenSchema.parse(form);
  const environment = `/api/v1/apps/${app}/envs/${env}`;
  const headers = new Headers({ "content-type": "application/json" });
  for (const name of [
    "authorization",
    "cookie",
    "origin",
    "sec-fetch-site",
    "cf-connecting-ip",
    "cf-access-jwt-assertion",
  ]) {
    const value = c.req.header(name);
    if (value !== undefined) headers.set(name, value);
  }
  const send = (method: string, path: string, body: unknown) =>
    new Request(new URL(path, c.req.url), { method, headers, body: JSON.stringify(body) });
  if (move === "weight") {
    headers.set("if-match", etag === "" ? "*" : etag);
    const weights = Object.entries(form).filter(([key]) => key.startsWith("weight:"));
    const body = weights.map(([key, value]) => [key.slice("weight:".length), Number(value)]);
    return send("PUT", `${environment}/weights`, Object.fromEntries(body));
  }
  if (move === "rollback") return send("POST", `${environment}/rollback`, from === "" ? {} : { from });
  const because = reason === "" ? {} : { reason };
  const bodies: Partial<Record<MoveName, object>> = {
    abort: because,
    reject: because,
    approve: { ...(digest === "" ? {} : { digest }), ...(step === undefined ? {} : { step }) },
  };
  const body = bodies[move] ?? (step === undefined ? {} : { step });
  return send("POST", `/api/v1/releases/${encodeURIComponent(release || "none")}/${move}`, body);
}
