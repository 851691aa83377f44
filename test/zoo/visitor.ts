import { strictEqual } from "node:assert/strict";
import { type Answer, ask } from "../support/http-client.ts";

/** A switch may come in the middle of it: an edge that waits for an app answers by then. */
const ANSWER_WITHIN_MS = 30_000;

interface Asking {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** What went on in a phase of a resident's life. */
export class Diary {
  steps = 0;
  readonly failures: string[] = [];
}

/** One visit of an app through the edge: it keeps cookies as a browser does, and a diary of its steps. */
export class Visitor {
  readonly hostname: string;
  readonly port: number;
  readonly #diary: Diary;
  readonly #cookies = new Map<string, string>();

  constructor(edge: { readonly hostname: string; readonly port: number }, diary: Diary) {
    this.hostname = edge.hostname;
    this.port = edge.port;
    this.#diary = diary;
  }

  /** As a browser's pages know it. */
  get origin(): string {
    return `http://${this.hostname}:${this.port}`;
  }

  cookie(name: string): string {
    return this.#cookies.get(name) ?? "";
  }

  /** Something that a visitor wants done. What fails ends the visit: each step stands on the one before. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.#diary.steps += 1;
    try {
      return await work();
    } catch (error) {
      this.#diary.failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
      throw error;
    }
  }

  /** Asks, and wants this status. */
  async ask(status: number, path: string, { method, headers, body }: Asking = {}): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await ask({
      port: this.port,
      host: `${this.hostname}:${this.port}`,
      path,
      headers: { ...(cookie && { cookie }), ...headers },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      ...(method && { method }),
      ...(body !== undefined && { body }),
    });
    for (const line of answer.headers["set-cookie"] ?? []) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.#cookies.set(name, value);
    }
    const got = `${answer.status} ${answer.text.slice(0, 300)}`;
    strictEqual(answer.status, status, `${method ?? "GET"} ${path} wanted ${status}, got ${got}`);
    return answer;
  }

  /** What a page of the app's sends with a form. */
  submit(status: number, path: string, fields: Readonly<Record<string, string>>): Promise<Answer> {
    return this.ask(status, path, {
      method: "POST",
      body: new URLSearchParams(fields).toString(),
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        origin: this.origin,
        referer: `${this.origin}${path}`,
      },
    });
  }
}
