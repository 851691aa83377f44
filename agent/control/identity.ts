import type { Credentials } from "./credentials.ts";
import { writeCredentials } from "./credentials.ts";

/** Who this host is to control: its token, which changes while the agent runs. */
export class Identity {
  readonly #directory: string;
  #credentials: Credentials;
  #superseded = new AbortController();

  constructor(directory: string, credentials: Credentials) {
    this.#directory = directory;
    this.#credentials = credentials;
  }

  get token(): string {
    return this.#credentials.token;
  }

  /** Aborts when the present token is no longer the present one: connections made with it are to be made anew. */
  get superseded(): AbortSignal {
    return this.#superseded.signal;
  }

  /** Uses another token from now on. Throws, and keeps the one it has, when the new one can't be written. */
  async renew(token: string): Promise<void> {
    const renewed = { ...this.#credentials, token, before: this.#credentials.token };
    // Written before it is used: with its first use the old one is worth nothing.
    await writeCredentials(this.#directory, renewed);
    this.#use(renewed);
  }

  /** Control refuses the token: changes to the one before it, or back. Answers whether there is one. Nothing is written for it. */
  useOther(): boolean {
    const { token, before } = this.#credentials;
    if (before === undefined) return false;
    this.#use({ ...this.#credentials, token: before, before: token });
    return true;
  }

  #use(credentials: Credentials): void {
    this.#credentials = credentials;
    const superseded = this.#superseded;
    this.#superseded = new AbortController();
    superseded.abort();
  }
}
