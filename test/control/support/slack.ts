/** What stands in for Slack's Web API: it keeps messages, and refuses what Slack would. */
export interface SlackMessage {
  readonly ts: string;
  readonly thread: string | undefined;
  readonly broadcast: boolean;
  text: string;
  blocks: readonly Block[];
  edits: number;
}
interface Block {
  readonly type: string;
  readonly text?: { readonly text: string };
  readonly elements?: readonly {
    readonly text?: unknown;
    readonly value?: string;
    readonly action_id?: string;
  }[];
}
type Body = Record<string, unknown> & { text?: string; blocks?: readonly Block[] };

export class SlackStandIn {
  readonly messages: SlackMessage[] = [];
  readonly ephemeral: string[] = [];
  /** Answered instead of anything else. */
  trouble: (() => Response) | null = null;
  token = "xoxb-1234567890";
  #last = Number.NEGATIVE_INFINITY;
  #made = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  async answer(request: Request): Promise<Response> {
    if (this.trouble) return this.trouble();
    const method = new URL(request.url).pathname.split("/").at(-1);
    if (request.headers.get("authorization") !== `Bearer ${this.token}`) return no("invalid_auth");
    const body = (await request.json()) as Body;
    if (body.channel !== "#releases" && body.channel !== "C0RELEASES") return no("channel_not_found");
    if (method === "chat.postEphemeral") {
      this.ephemeral.push(String(body.text));
      return Response.json({ ok: true });
    }
    const wrong = this.#wrongIn(body);
    if (wrong) return no(wrong);
    return method === "chat.update" ? this.#update(body) : this.#post(body);
  }

  #post(body: Body): Response {
    if (this.#now() - this.#last < 1_000)
      return new Response("ratelimited", { status: 429, headers: { "retry-after": "7" } });
    const thread = body.thread_ts as string | undefined;
    if (thread !== undefined && !this.messages.some(({ ts }) => ts === thread)) return no("thread_not_found");
    this.#last = this.#now();
    const ts = `${Math.floor(this.#now() / 1_000)}.${String(++this.#made).padStart(6, "0")}`;
    const { text = "", blocks = [], reply_broadcast: broadcast = false } = body;
    this.messages.push({ ts, thread, broadcast: broadcast === true, text, blocks, edits: 0 });
    return Response.json({ ok: true, ts, channel: "C0RELEASES" });
  }

  #update(body: Body): Response {
    if (body.channel !== "C0RELEASES") return no("channel_not_found");
    const message = this.messages.find(({ ts }) => ts === body.ts);
    if (!message) return no("message_not_found");
    Object.assign(message, { text: body.text, blocks: body.blocks, edits: message.edits + 1 });
    return Response.json({ ok: true, ts: message.ts, channel: "C0RELEASES" });
  }

  /** https://docs.slack.dev/reference/block-kit/blocks */
  #wrongIn({ text = "", blocks = [] }: Body): string | undefined {
    if (text === "" && blocks.length === 0) return "no_text";
    if (text.length > 40_000) return "msg_too_long";
    if (blocks.length > 50) return "invalid_blocks";
    const isWrong = blocks.some(({ type, text: own, elements = [] }) => {
      if (type === "section") return !own || own.text.length < 1 || own.text.length > 3_000;
      if (type === "actions")
        return elements.length > 25 || elements.some(({ value = "" }) => value.length > 2_000);
      return type !== "context" || elements.length < 1 || elements.length > 10;
    });
    return isWrong ? "invalid_blocks" : undefined;
  }

  /** Those in the channel itself, oldest first. */
  get parents(): SlackMessage[] {
    return this.messages.filter(({ thread }) => thread === undefined);
  }

  buttonsOf({ blocks }: SlackMessage) {
    return blocks.flatMap(({ type, elements = [] }) => (type === "actions" ? elements : []));
  }
}

const no = (error: string) => Response.json({ ok: false, error });
