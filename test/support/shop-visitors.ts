import { randomUUID } from "node:crypto";

/** What visitors met, and what they were told is ordered. */
interface Visits {
  requests: number;
  /** Each answer that was not what a visitor wants, in words. */
  failures: string[];
  /** Ids of the orders that were confirmed. */
  orders: string[];
}

export interface Crowd {
  /** Ends the visits under way, and tells what they met. */
  stop(): Promise<Visits>;
  /** Resolves when every visitor has made one more full round. */
  round(): Promise<void>;
}

/**
 * Logs visitors in and has them shop, each one request after the other, going round `urls()`. The list is asked for each
 * request, so that versions can come and go. A visitor that is no longer known, or is somebody else, is a failure.
 */
export async function startCrowd(size: number, urls: () => string[]): Promise<Crowd> {
  const visits: Visits = { requests: 0, failures: [], orders: [] };
  const rounds = Array.from({ length: size }, () => 0);
  let isOver = false;
  const shop = async (index: number) => {
    const visitor = new Visitor(`visitor-${index}-${randomUUID().slice(0, 8)}@example.com`, urls, visits);
    await visitor.logIn();
    while (!isOver) {
      await visitor.order();
      await visitor.checkSelf();
      await newcomer(urls, visits);
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
      const until = Date.now() + 20_000;
      while (rounds.some((done, index) => done < (wanted[index] ?? 0))) {
        if (Date.now() > until) throw new Error(`no full round in 20 s: ${visits.failures.slice(-3)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  };
}

/** Somebody new at every turn: their rows are the ones a careless migration loses. They come back at once, elsewhere. */
async function newcomer(urls: () => string[], visits: Visits): Promise<void> {
  const visitor = new Visitor(`new-${randomUUID().slice(0, 13)}@example.com`, urls, visits);
  await visitor.logIn();
  await visitor.logIn();
  await visitor.checkSelf();
}

class Visitor {
  readonly #email: string;
  readonly #urls: () => string[];
  readonly #visits: Visits;
  #cookie = "";
  #id = "";

  constructor(email: string, urls: () => string[], visits: Visits) {
    this.#email = email;
    this.#urls = urls;
    this.#visits = visits;
  }

  async logIn(): Promise<void> {
    const response = await this.#ask("POST", "/login", { email: this.#email });
    if (response?.status === 200) this.#cookie = response.headers.get("set-cookie")?.split(";")[0] ?? "";
    else this.#fail("POST /login", response);
    await response?.text();
  }

  async order(): Promise<void> {
    const id = randomUUID();
    const response = await this.#ask("POST", "/orders", { id, item: "tea", quantity: 1 });
    if (response?.status === 201) this.#visits.orders.push(id);
    else this.#fail("POST /orders", response);
    await response?.text();
  }

  /** Still logged in, as the same user: a second row for the same address would be a second id. */
  async checkSelf(): Promise<void> {
    const response = await this.#ask("GET", "/me");
    const text = (await response?.text()) ?? "";
    const self: { id?: string; email?: string } = response?.status === 200 ? JSON.parse(text) : {};
    this.#id ||= self.id ?? "";
    if (self.email !== this.#email || self.id !== this.#id)
      this.#fail(`GET /me as ${this.#id}: ${text}`, response);
  }

  async #ask(method: string, path: string, body?: object): Promise<Response | undefined> {
    const urls = this.#urls();
    const url = urls[this.#visits.requests++ % urls.length];
    try {
      return await fetch(`${url}${path}`, {
        method,
        headers: { cookie: this.#cookie, ...(body && { "content-type": "application/json" }) },
        ...(body && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      });
    } catch (error) {
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      this.#visits.failures.push(`${method} ${url}${path}: ${cause}`);
      return undefined;
    }
  }

  #fail(what: string, response: Response | undefined): void {
    // No answer at all was noted where it happened.
    if (response) this.#visits.failures.push(`${what} at ${response.url} answered ${response.status}`);
  }
}
