import { createRoute, z } from "@hono/zod-openapi";
import type { Result } from "../../../domain/result.ts";
import { parseJson } from "../../../protocol/json.ts";
import { type AppContext, coordinatorOf, inBackground, type Principal } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { newRouter } from "../../http/route-parts.ts";
import { personOf } from "../../identity/cloudflare-access.ts";
import { reaches } from "../../identity/roles.ts";
import { sha256 } from "../../ids.ts";
import { openKeys, type SlackKeys } from "../../notify/keys.ts";
import { callSlack } from "../../notify/slack-app.ts";
import { ACTIONS, type SlackAction } from "../../notify/slack-blocks.ts";
import { isSignedBySlack } from "../../notify/slack-signature.ts";
import type { Refusal } from "../../refusal.ts";
import { requireKeyring } from "../../secrets/secrets.ts";
import { isLostRace, openDb } from "../../store/db.ts";
import { allIdentities, readLink } from "../../store/identity/people.ts";
import { noteTraded } from "../../store/identity/trusts.ts";
import { readWebhook, type WebhookRow } from "../../store/notify/webhooks.ts";
import { readRelease } from "../../store/status.ts";

/** Slack's own rule (https://docs.slack.dev/authentication/verifying-requests-from-slack). */
const SKEW_MS = 5 * 60_000;

const press = createRoute({
  method: "post",
  path: "/slack/{id}/actions",
  summary: "A button that was pressed in Slack",
  description:
    "Signed by Slack with the target's signing secret (v0). Counts once, within five minutes, for a user whom an administrator linked to a person with the role.",
  tags: ["webhooks"],
  security: [],
  request: { params: z.object({ id: z.string().max(64) }) },
  responses: { 200: { description: "Taken; what came of it is told in Slack" } },
});

const payloadSchema = z.object({
  type: z.literal("block_actions"),
  team: z.object({ id: z.string().max(40) }),
  user: z.object({ id: z.string().max(40) }),
  actions: z
    .array(
      z.object({ action_id: z.enum(Object.keys(ACTIONS) as [SlackAction]), value: z.string().max(2_000) }),
    )
    .length(1),
});
const valueSchema = z.object({
  release: z.string().max(64),
  digest: z.string().max(500).optional(),
  step: z.number().int().min(0).optional(),
});

interface Pressed extends z.infer<typeof valueSchema> {
  readonly action: SlackAction;
  /** `slack:T1/U1` */
  readonly identity: string;
  readonly user: string;
}

export const slackActionRoutes = () =>
  newRouter().openapi(press, async (c) => {
    const db = openDb(c.env.DB);
    c.set("db", db);
    const row = await readWebhook(db, c.req.valid("param").id);
    const slack = row?.kind === "slack_app" ? await slackKeysOf(c, row) : undefined;
    // As it was sent: what is signed is its bytes.
    const text = new TextDecoder().decode(await c.req.arrayBuffer());
    if (!row || !slack) throw new ProblemError(UNSIGNED);
    await requireSigned(c, slack, text);
    const pressed = readPressed(text);
    const refusal = await act(c, row, pressed);
    const says = refusal ? `That did not work: ${refusal.detail}` : `${ACTIONS[pressed.action]}: done.`;
    const told = callSlack(c.env, slack, "chat.postEphemeral", {
      user: pressed.user,
      text: says.slice(0, 2_000),
    });
    inBackground(c, "slack.told", told);
    return c.body(null, 200);
  });

const UNSIGNED: Refusal = {
  code: "forbidden",
  detail: "this is not signed by the Slack app whose buttons lead here, or not within the last five minutes",
};

async function slackKeysOf(c: AppContext, row: WebhookRow): Promise<SlackKeys | undefined> {
  const keys = await openKeys(await requireKeyring(c.env), row);
  return keys.ok ? keys.value.slack : undefined;
}

async function requireSigned(c: AppContext, { signingSecret }: SlackKeys, text: string): Promise<void> {
  const now = c.var.now();
  const timestamp = c.req.header("x-slack-request-timestamp") ?? "";
  const signature = c.req.header("x-slack-signature") ?? "";
  const isTimely = /^\d{1,12}$/.test(timestamp) && Math.abs(now - Number(timestamp) * 1_000) <= SKEW_MS;
  if (!isTimely || !(await isSignedBySlack({ signingSecret, timestamp, signature }, text)))
    throw new ProblemError(UNSIGNED);
  // Within the time in which it would count it counts once.
  const key = await sha256(`slack ${signature}`);
  await noteTraded(c.var.db, { key, expiresAt: now + 3 * SKEW_MS }).catch((error) => {
    if (isLostRace(error))
      throw new ProblemError({ ...UNSIGNED, detail: "this was sent before: it counts once" });
    throw error;
  });
}

function readPressed(text: string): Pressed {
  const payload = payloadSchema.safeParse(parseJson(new URLSearchParams(text).get("payload") ?? ""));
  const [pressed] = payload.data?.actions ?? [];
  const value = valueSchema.safeParse(parseJson(pressed?.value ?? ""));
  if (!payload.success || !pressed || !value.success)
    throw new ProblemError({ code: "invalid_request", detail: "this is no button of Sluice's" });
  const { team, user } = payload.data;
  return { ...value.data, action: pressed.action_id, identity: `slack:${team.id}/${user.id}`, user: user.id };
}

/** Does what was pressed, for who pressed it; answers why not. */
async function act(c: AppContext, row: WebhookRow, pressed: Pressed): Promise<Refusal | undefined> {
  const { db } = c.var;
  const link = await readLink(db, pressed.identity);
  if (!link) {
    const detail = `control doesn't know who you are here. An administrator says it: sluice people link <email> ${pressed.identity}`;
    return { code: "forbidden", detail };
  }
  const person = await personOf(db, link.email, "slack");
  if (!person.ok) return person.error;
  const found = await readRelease(db, pressed.release);
  const isOf = found && (row.app ?? found.app) === found.app;
  if (!found || !isOf || (row.environment ?? found.environment.name) !== found.environment.name)
    return { code: "not_found", detail: "there is no such release (any more)" };
  const { app, environment } = found;
  if (!reaches(person.value, { role: "approver", app, environment: environment.name, action: "deploy" }))
    return { code: "forbidden", detail: `you need the role approver for ${app}/${environment.name}` };
  const starter = await allIdentities(db, found.release.startedAs ?? [found.release.by]);
  const done = await order(c, environment.id, { pressed, person: person.value, starter });
  return done.ok ? undefined : done.error;
}

function order(
  c: AppContext,
  environmentId: string,
  { pressed, person, starter }: { pressed: Pressed; person: Principal; starter: readonly string[] },
): Promise<Result<null, Refusal>> {
  const port = coordinatorOf(c.env, environmentId);
  const { actor, identities, madeBy } = person;
  const { release, digest: subject = null, step = null, action } = pressed;
  if (action === "approve")
    return port.approve({ release, actor, identities, madeBy, starter, subject, step });
  return port[action]({ release, actor, reason: "in Slack" });
}
