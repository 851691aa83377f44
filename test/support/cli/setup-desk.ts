import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import { Output } from "../../../cli/io/output.ts";
import { exitOf, toProblem } from "../../../cli/io/problem.ts";
import { type Globals, type Outcome, Session } from "../../../cli/session.ts";
import { type Ports, type SetupOptions, setup } from "../../../cli/setup/setup.ts";
import { type TeardownOptions, teardown } from "../../../cli/setup/teardown.ts";
import { quickWrangler } from "../cloudflare/quick-wrangler.ts";
import { API_TOKEN, type Cloudflare, type LoggedCall } from "../cloudflare/server.ts";

/** A machine from which Sluice is set up: its home, its environment, and what it got to see. */
export interface Desk {
  readonly home: string;
  setup(options?: Partial<SetupOptions>, env?: Env): Promise<Done>;
  teardown(options?: TeardownOptions, env?: Env): Promise<Done>;
  read(file: string): string;
}
type Env = Readonly<Record<string, string>>;

export interface Done {
  readonly exit: number;
  readonly code: string | undefined;
  /** Everything said, and the problem's text if it ended with one. */
  readonly said: string;
  readonly stdout: string;
  readonly json: Record<string, unknown>;
}

/** When a command begins at a desk. */
export const NOON = Date.UTC(2026, 10, 29, 12);

interface DeskOptions {
  readonly cloudflare: Cloudflare;
  /** Absent: wrangler's calls without wrangler. */
  readonly wrangler?: Ports["wrangler"];
  /** Who answers at https://sluice.example.com. Absent: a control that is as deployed. */
  readonly fetch?: typeof fetch;
  /** Who takes the home away again. Absent: the end of the test. */
  readonly atEnd?: (remove: () => void) => void;
}

export function newDesk({
  cloudflare,
  wrangler = quickWrangler(cloudflare.url),
  fetch,
  atEnd,
}: DeskOptions): Desk {
  const home = mkdtempSync(join(tmpdir(), "sluice-setup-"));
  (atEnd ?? onTestFinished)(() => rmSync(home, { recursive: true, force: true }));
  const ports = { wrangler, fetch: fetch ?? deployedControl(cloudflare), sleep: async () => {} };
  const run = async (env: Env, act: (session: Session) => Promise<Outcome>): Promise<Done> => {
    const [out, err]: [string[], string[]] = [[], []];
    const session = newSession({ home, cloudflare, env, out, err });
    try {
      const outcome = await act(session);
      session.out.finish(outcome);
      return {
        exit: outcome.exit,
        code: undefined,
        said: err.join(""),
        stdout: out.join(""),
        json: { ...outcome.json },
      };
    } catch (error) {
      const { code, detail, title, next } = toProblem(error);
      const steps = next.map(({ command, when }) => `${command} ${when}`).join("\n");
      const said = `${err.join("")}${title}: ${detail}\n${steps}`;
      return { exit: exitOf(code), code, said, stdout: out.join(""), json: {} };
    }
  };
  return {
    home,
    setup: (options = {}, env = {}) =>
      run(env, (session) =>
        setup(session, { name: "sluice", zone: "example.com", yes: true, wait: 1_000, ...options }, ports),
      ),
    teardown: (options = {}, env = {}) => run(env, (session) => teardown(session, options, ports)),
    read: (file) => readFileSync(join(home, ".config/sluice", file), "utf8").trim(),
  };
}

interface SessionOf {
  readonly home: string;
  readonly cloudflare: Cloudflare;
  readonly env: Env;
  readonly out: string[];
  readonly err: string[];
}

function newSession({ home, cloudflare, env, out, err }: SessionOf): Session {
  const all = {
    PATH: process.env.PATH ?? "",
    HOME: home,
    CLOUDFLARE_API_TOKEN: API_TOKEN,
    CLOUDFLARE_API_BASE_URL: cloudflare.url,
    ...env,
  };
  const terminal = {
    stdin: Readable.from([]),
    stdout: { isTTY: false, write: (text: string) => void out.push(text) },
    stderr: { isTTY: false, columns: 80, write: (text: string) => void err.push(text) },
    env: all,
  };
  const globals: Globals = {};
  const signal = new AbortController().signal;
  // Each look at the clock is a second later, so that waiting ends without any.
  let now = NOON;
  const tick = () => (now += 1_000);
  return new Session({
    globals,
    out: new Output(terminal, "off"),
    terminal,
    cwd: home,
    signal,
    version: "0.0.0",
    now: tick,
  });
}

/** Answers as the Worker behind the hostname would: its own version, no host and no app. */
export const deployedControl =
  ({ state }: Cloudflare, use: { hosts?: object[]; apps?: object[] } = {}): typeof fetch =>
  async (input) => {
    const { hostname, pathname } = new URL(String(input instanceof Request ? input.url : input));
    const domain = state.domains.find((one) => one.hostname === hostname);
    const worker = domain && state.workers.get(domain.service);
    if (!worker)
      throw new TypeError("fetch failed", { cause: new Error(`getaddrinfo ENOTFOUND ${hostname}`) });
    const version = worker.bindings.find(({ name }) => name === "VERSION")?.text;
    if (pathname === "/health") return Response.json({ status: "healthy", version, checks: {} });
    if (pathname === "/api/v1/hosts") return Response.json({ items: use.hosts ?? [], nextCursor: null });
    if (pathname === "/api/v1/apps") return Response.json({ items: use.apps ?? [], nextCursor: null });
    return Response.json({}, { status: 404 });
  };

/** Calls that change something; a D1 query does unless it only selects. */
export const changes = (log: readonly LoggedCall[]): LoggedCall[] =>
  log.filter(({ method, path, body }) => {
    if (method === "GET" || path.includes("/domains/changeset")) return false;
    const { sql } = (body ?? {}) as { sql?: string };
    return !(path.endsWith("/query") && /^\s*select/i.test(sql ?? ""));
  });
