import { createRoute, z } from "@hono/zod-openapi";
import {
  createdWebhookSchema,
  createWebhookSchema,
  rotatedSecretSchema,
  webhookSchema,
} from "../../../protocol/webhooks.ts";
import { authorize } from "../../http/auth.ts";
import { type AppContext, inBackground } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { body, json, newRouter } from "../../http/route-parts.ts";
import { everything } from "../../identity/roles.ts";
import { newId } from "../../ids.ts";
import { iso } from "../../iso.ts";
import { targetProblem } from "../../notify/address.ts";
import { appToken } from "../../notify/github/hub.ts";
import { apiBase, GITHUB_API, webAddressOf } from "../../notify/github/repository.ts";
import { newSigningSecret, openKeys, rotated, sealKeys, type TargetKeys } from "../../notify/keys.ts";
import { pokeNotifier } from "../../notify/poke.ts";
import { requireKeyring } from "../../secrets/secrets.ts";
import {
  deleteWebhook,
  insertWebhook,
  listWebhooks,
  readWebhook,
  rekeyWebhook,
  type WebhookRow,
} from "../../store/notify/webhooks.ts";
import { shownUrl, webhookView } from "../../views/webhook.ts";
import { requireWebhook, write } from "./target.ts";

const tags = ["webhooks"];
const params = z.object({ id: z.string().max(64) });

const list = createRoute({
  method: "get",
  path: "/api/v1/webhooks",
  summary: "Who is told of events, never their secrets",
  tags,
  responses: { 200: json(z.object({ items: z.array(webhookSchema) }), "All of them, oldest first") },
});

const add = createRoute({
  method: "post",
  path: "/api/v1/webhooks",
  summary: "Tell an address of events",
  description:
    "Signed by Standard Webhooks. An address of Slack's incoming webhooks (hooks.slack.com) is sent messages that Slack shows; `otlp` is sent each release as a trace; at `github` releases have Deployments and statuses. Internal addresses are refused.",
  tags,
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(createWebhookSchema),
  },
  responses: { 201: json(createdWebhookSchema, "The target, with its secret, shown this once") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/webhooks/{id}",
  summary: "Tell an address no more",
  description: "What was still to be sent to it goes, too.",
  tags,
  request: { params },
  responses: { 204: { description: "It is not there (any more)" } },
});

const rotate = createRoute({
  method: "post",
  path: "/api/v1/webhooks/{id}/secret",
  summary: "Give a target another secret",
  description: "For a day messages carry a signature by each of the two.",
  tags,
  request: { params },
  responses: { 200: json(rotatedSecretSchema, "The new secret, shown this once") },
});

/** Who is told of events. */
export const webhookRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      authorize(c, everything("admin"));
      const rows = await listWebhooks(c.var.db);
      return c.json({ items: rows.map(webhookView) }, 200);
    })
    .openapi(add, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const { row, secret } = await newWebhook(c, c.req.valid("json"), actor);
      await write(c, { row, actor, type: "webhook.added", says: "is told of events" }, [
        insertWebhook(c.var.db, row),
      ]);
      inBackground(c, "notify.poke", pokeNotifier(c.env, { changed: true }));
      return c.json({ ...webhookView(row), secret }, 201);
    })
    .openapi(remove, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const row = await readWebhook(c.var.db, c.req.valid("param").id);
      if (row)
        await write(c, { row, actor, type: "webhook.removed", says: "is told of nothing more" }, [
          deleteWebhook(c.var.db, row.id),
        ]);
      return c.body(null, 204);
    })
    .openapi(rotate, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      return c.json(await giveAnotherSecret(c, await requireWebhook(c), actor), 200);
    });

async function giveAnotherSecret(c: AppContext, row: WebhookRow, actor: string) {
  if (row.kind !== "webhook") {
    throw new ProblemError({ code: "invalid_request", detail: `${row.id} ${UNSIGNED[row.kind]}` });
  }
  const keyring = await requireKeyring(c.env);
  const opened = await openKeys(keyring, row);
  if (!opened.ok)
    throw new ProblemError({ code: "not_configured", detail: `its keys can't be opened: ${opened.error}` });
  const secret = newSigningSecret();
  const { keys, until } = rotated(opened.value, secret, c.var.now());
  const [moved] = await write(c, { row, actor, type: "webhook.rotated", says: "got another secret" }, [
    rekeyWebhook(c.var.db, row, await sealKeys(keyring, row.id, keys)),
  ]);
  if (Array.isArray(moved) && moved.length === 0)
    throw new ProblemError({ code: "conflict", detail: "somebody else just changed it: look and try again" });
  return { secret, beforeUntil: iso(until) };
}

/** Why it has no signing secret, and what to do in the place of another one. */
const UNSIGNED = {
  slack_app:
    "is a Slack app's: renew its token or signing secret in Slack, add it again (`sluice webhooks slack`), and give Slack the new request URL",
  slack: "is Slack's: its address is its secret. Make another one there, and add it",
  github:
    "is GitHub's: renew its token or key there, add it again (`sluice webhooks github`), and remove this one",
  otlp: "is a collector's: renew its key there, add it again (`sluice webhooks otlp`), and remove this one",
} as const satisfies Record<Exclude<WebhookRow["kind"], "webhook">, string>;

interface NewKeys {
  readonly kind: WebhookRow["kind"];
  readonly secret: string | null;
  readonly keys: TargetKeys;
}

async function newKeys(c: AppContext, asked: z.output<typeof createWebhookSchema>): Promise<NewKeys> {
  const { slack, otlp, github } = asked;
  if (github) return githubKeys(c, github);
  if (slack) return { kind: "slack_app", secret: null, keys: { url: "", secrets: [], slack } };
  const url = otlp ? tracesUrl(otlp.url) : (asked.url ?? "");
  await requireTarget(c, url);
  if (otlp) return { kind: "otlp", secret: null, keys: { url, secrets: [], headers: otlp.headers } };
  if (new URL(url).hostname === "hooks.slack.com")
    return { kind: "slack", secret: null, keys: { url, secrets: [] } };
  const secret = newSigningSecret();
  return { kind: "webhook", secret, keys: { url, secrets: [{ secret, until: null }] } };
}

async function requireTarget(c: AppContext, url: string): Promise<void> {
  const problem = await targetProblem(url, c.env);
  if (problem !== undefined)
    throw new ProblemError({ code: "invalid_request", detail: `no message may go there: ${problem}` });
}

type AskedGitHub = NonNullable<z.output<typeof createWebhookSchema>["github"]>;

async function githubKeys(c: AppContext, asked: AskedGitHub): Promise<NewKeys> {
  const api = asked.api === undefined ? GITHUB_API : apiBase(asked.api);
  if (api !== GITHUB_API) await requireTarget(c, api);
  if (asked.app)
    await appToken(asked.app, c.var.now()).catch(() => {
      throw new ProblemError({
        code: "invalid_request",
        detail: "the app's private key can't be read, or is no RSA key of 2,048 bits at least",
      });
    });
  const url = webAddressOf(api, asked.repository);
  return { kind: "github", secret: null, keys: { url, secrets: [], github: { ...asked, api } } };
}

/** A base gets the path that the protocol names; a text that is no URL stays, and is refused as that. */
function tracesUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.pathname !== "/") return text;
  url.pathname = "/v1/traces";
  return url.href;
}

async function newWebhook(c: AppContext, asked: z.output<typeof createWebhookSchema>, actor: string) {
  const now = c.var.now();
  const id = newId("hook", now);
  const { kind, secret, keys } = await newKeys(c, asked);
  const sealed = await sealKeys(await requireKeyring(c.env), id, keys);
  const row: WebhookRow = {
    id,
    kind,
    url: asked.slack ? `slack:${asked.slack.channel}` : shownUrl(kind, keys.url),
    app: asked.app ?? null,
    environment: asked.environment ?? null,
    events: asked.events ?? null,
    severity: asked.severity,
    ...sealed,
    cursor: 0,
    createdAt: now,
    createdBy: actor,
    disabledAt: null,
    disabledCause: null,
    quietUntil: null,
  };
  return { row, secret };
}
