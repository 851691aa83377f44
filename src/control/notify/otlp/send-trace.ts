import { z } from "zod";
import { ROOT, type Span, spansUntil } from "../../../domain/tracing/spans.ts";
import type { ControlEnv } from "../../env.ts";
import type { Db } from "../../store/db.ts";
import type { DeliveryRow } from "../../store/notify/deliveries.ts";
import { readStory } from "../../store/notify/story.ts";
import type { TargetKeys } from "../keys.ts";
import { type Answer, failed, post, type Sent } from "../send-webhook.ts";
import { exportBody } from "./wire.ts";

/** What is kept of a trace that is to be told: it is made from the release's rows when it is sent. */
export interface TraceBody {
  /** Null: a test. */
  readonly release: string | null;
}

/** The only ones that another try may mend (https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes). */
const RETRYABLE = new Set([429, 502, 503, 504]);
const NOTHING: Sent = { ok: true, status: null, error: null, retryAfterMs: null, gone: false };

interface At {
  readonly env: ControlEnv;
  readonly db: Db;
  readonly now: number;
}

/** Tells a collector what ended of a release. Tried again it tells the same spans under the same ids. */
export async function sendTrace(delivery: DeliveryRow, keys: TargetKeys, at: At): Promise<Sent> {
  const body = await bodyOf(delivery, at);
  if (!body) return NOTHING;
  const headers = { ...keys.headers, "content-type": "application/json", "user-agent": "Sluice-OTLP/1" };
  const answer = await post(keys.url, { headers, body: JSON.stringify(body) }, at);
  return "answered" in answer ? judge(answer) : answer;
}

/** Undefined: there is nothing (any more) to tell. */
async function bodyOf(delivery: DeliveryRow, { env, db }: At): Promise<object | undefined> {
  // Written by `deliveryFor`.
  const { release: id } = JSON.parse(delivery.body) as TraceBody;
  const version = env.VERSION ?? "unknown";
  if (id === null) return exportBody({ id: delivery.id }, [testSpan(delivery)], version);
  const found = await readStory(db, id);
  const spans = found ? spansUntil(found.story, delivery.eventId) : [];
  return found && spans.length > 0 ? exportBody(found.release, spans, version) : undefined;
}

const testSpan = ({ createdAt }: DeliveryRow): Span => ({
  key: ROOT,
  parent: null,
  name: "sluice test",
  start: createdAt,
  end: createdAt,
  attributes: {},
  status: { code: "ok" },
  notes: [],
});

const answerSchema = z.object({
  partialSuccess: z
    .object({
      // 64 bits: a text, which many write as a number.
      rejectedSpans: z.union([z.string().regex(/^\d+$/), z.number()]).optional(),
      errorMessage: z.string().optional(),
    })
    .optional(),
});

/** What it did not take is not to be sent again, by the protocol: then it is given up, and says so. */
function judge({ answered, said }: Answer): Sent {
  const { ok, status, error } = answered;
  if (!ok) return { ...answered, gone: false, isFinal: status !== null && !RETRYABLE.has(status) };
  const { partialSuccess } = partlyOf(said);
  const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
  if (rejected === 0) return { ...answered, error };
  const why = partialSuccess?.errorMessage?.slice(0, 200) ?? "it does not say why";
  return failed(`it did not take ${rejected} spans: ${why}`, { status, isFinal: true });
}

function partlyOf(said: string): z.infer<typeof answerSchema> {
  try {
    return answerSchema.safeParse(JSON.parse(said)).data ?? {};
  } catch {
    return {};
  }
}
