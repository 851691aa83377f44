import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, ask } from "../http-client.ts";

const ANSWER_WITHIN_MS = 10_000;
/** A visitor's round of six requests takes at least so long: without a pause they would use the whole machine. */
const ROUND_MS = 500;
const ROUNDS_WITHIN_MS = 60_000;

/** What visitors met, and what they were told is ordered. */
interface Visits {
  requests: number;
  /** Each answer that was not what a visitor wants, in words. */
  failures: string[];
  /** Ids of the orders that were confirmed. */
  orders: string[];
  /** Addresses that were logged in. */
  emails: Set<string>;
}

export interface Crowd {
  /** Ends the visits under way, and tells what they met. */
  stop(): Promise<Visits>;
  /** Resolves when every visitor has made one more full round. */
  round(): Promise<void>;
}

/**
 * Logs visitors in and has them shop, each one request after the other, going round `urls()`. The list is asked for each
 * request, so that versions can come and go. A visitor that is no longer known, or is somebody else, is a failure. Each hostname
 * is looked for on this machine, so that an edge can be asked for any of its own.
 */
export async function startCrowd(size: number, urls: () => string[]): Promise<Crowd> {
  const visits: Visits = { requests: 0, failures: [], orders: [], emails: new Set() };
  const rounds = Array.from({ length: size }, () => 0);
  let isOver = false;
  const shop = async (index: number) => {
    const visitor = new Visitor(`visitor-${index}-${randomUUID().slice(0, 8)}@example.com`, urls, visits);
    await visitor.logIn();
    while (!isOver) {
      const pause = sleep(ROUND_MS);
      await visitor.order();
      await visitor.checkSelf();
      await newcomer(urls, visits);
      await pause;
      rounds[index] = (rounds[index] ?? 0) + 1;
    }
  };
  const all = Promise.all(rounds.map((_, index) => shop(index)));
  return {
    async stop() {
      isOver = true;
      await all;
      return visits;
    },
    async round() {
      const wanted = rounds.map((done) => done + 2);
      const until = Date.now() + ROUNDS_WITHIN_MS;
      while (rounds.some((done, index) => done < (wanted[index] ?? 0))) {
        if (Date.now() > until)
          throw new Error(`no full round in ${ROUNDS_WITHIN_MS / 1_000} s: ${visits.failures.slice(-3)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  };
}

/** Somebody new at every turn: their rows are the ones a careless migration loses. They come back at once, elsewhere. */
async function newcomer(urls: () => string[], visits: Visits): Promise<void> {
  const visitor = new Visitor(`new-${randomUUID().slice(0, 13)}@example.com`, urls, visits);
  await visitor.logIn();
  await visitor.checkSelf();
  await visitor.logIn();
  await visitor.checkSelf();
}

class Visitor {
  readonly #email: string;
  readonly #urls: () => string[];
  readonly #visits: Visits;
  readonly #cookies = new Map<string, string>();
  #id = "";

  constructor(email: string, urls: () => string[], visits: Visits) {
    this.#email = email;
    this.#urls = urls;
    this.#visits = visits;
  }

  /** On a new device: nothing that it was given before says where it belongs. */
  async logIn(): Promise<void> {
    this.#cookies.clear();
    const answer = await this.#ask("POST", "/login", { email: this.#email });
    if (answer?.status === 200) this.#visits.emails.add(this.#email);
    else this.#fail("POST /login", answer);
  }

  async order(): Promise<void> {
    const id = randomUUID();
    const answer = await this.#ask("POST", "/orders", { id, item: "tea", quantity: 1 });
    if (answer?.status === 201) this.#visits.orders.push(id);
    else this.#fail("POST /orders", answer);
  }

  /** Still logged in, as the same user: a second row for the same address would be a second id. */
  async checkSelf(): Promise<void> {
    const answer = await this.#ask("GET", "/me");
    const self: { id?: string; email?: string } = answer?.status === 200 ? JSON.parse(answer.text) : {};
    this.#id ||= self.id ?? "";
    if (self.email !== this.#email || self.id !== this.#id) this.#fail(`GET /me as ${this.#id}`, answer);
  }

  async #ask(method: string, path: string, body?: object): Promise<Answer | undefined> {
    const urls = this.#urls();
    const url = urls[this.#visits.requests++ % urls.length] ?? "";
    const { host, port } = new URL(url);
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    try {
      const answer = await ask({
        method,
        path,
        host,
        port: Number(port),
        headers: { cookie, ...(body && { "content-type": "application/json" }) },
        ...(body && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      });
      this.#keepCookies(answer);
      return answer;
    } catch (error) {
      this.#visits.failures.push(`${method} ${url}${path}: ${error}`);
      return undefined;
    }
  }

  #keepCookies({ headers }: Answer): void {
    for (const line of headers["set-cookie"] ?? []) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.#cookies.set(name, value);
    }
  }

  #fail(what: string, answer: Answer | undefined): void {
    // No answer at all was noted where it happened.
    if (answer) this.#visits.failures.push(`${what} answered ${answer.status}: ${answer.text.slice(0, 200)}`);
  }
}
