import type { AppContext } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { runBatch } from "../../store/db.ts";
import { insertEvent } from "../../store/events.ts";
import { readWebhook, type WebhookRow } from "../../store/notify/webhooks.ts";

/** The target that the path names, or a refusal. */
export async function requireWebhook(c: AppContext): Promise<WebhookRow> {
  const id = c.req.param("id") ?? "";
  const row = await readWebhook(c.var.db, id);
  if (row) return row;
  const next = [{ command: "sluice webhooks list", when: "to see which there are" }];
  throw new ProblemError({ code: "not_found", detail: `there is no webhook \`${id}\``, next });
}

/** What became of a target. */
interface Happened {
  readonly row: WebhookRow;
  readonly actor: string;
  readonly type: `webhook.${string}`;
  readonly says: string;
}

const eventOf = (c: AppContext, { row, actor, type, says }: Happened) =>
  insertEvent(c.var.db, {
    at: c.var.now(),
    type,
    actor,
    app: row.app,
    environment: row.environment,
    message: `${row.url} ${says}`,
    data: { webhook: row.id },
  });

/** Writes it with its event. Answers each statement's result. */
export const write = (c: AppContext, happened: Happened, statements: Parameters<typeof runBatch>[1]) =>
  runBatch(c.var.db, [...statements, eventOf(c, happened)]);
