import { Client, ConnectionError, collect } from "../../src/client/index.ts";
import { clean, plural } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Session } from "../session.ts";
import { type Home, keptLogin } from "./files.ts";
import type { Reach } from "./health.ts";
import { controlUrl, type Installation } from "./installation.ts";

interface Guard {
  readonly home: Home;
  readonly installation: Installation;
  readonly ports: Reach;
  readonly force: boolean | undefined;
}

/** Traffic first: nothing that serves is taken away by this. */
export async function refuseInUse(session: Session, guard: Guard): Promise<void> {
  if (guard.force) return;
  const { hosts: known, apps } = await inUse(session, guard);
  const hosts = known.filter(({ state }) => state !== "removed");
  const live = apps.flatMap((app) => app.environments.filter(({ instances }) => instances.length > 0));
  if (hosts.length === 0 && live.length === 0) return;
  const names = live.map(({ app, environment }) => `${clean(app)}/${clean(environment)}`);
  throw new CliError(
    "conflict",
    `${plural(hosts.length, "host")} (${hosts.map(({ name }) => clean(name)).join(", ") || "none"}) and ${plural(names.length, "environment")} with instances (${names.join(", ") || "none"}); nothing was removed`,
    {
      title: "it is in use",
      next: hosts.map(({ name }) => ({
        command: `sluice hosts remove ${clean(name)}`,
        when: "takes its tunnel and records away, too",
      })),
    },
  );
}

async function inUse(session: Session, { home, installation, ports }: Guard) {
  const url = controlUrl(installation);
  const login = keptLogin(home, session.env.SLUICE_URL === url ? session.env.SLUICE_TOKEN : undefined);
  const advice =
    "Mend that, or add --force if control is gone for good: then hosts' tunnels and records stay behind, and are named";
  if (login === undefined)
    throw new CliError(
      "no_config",
      `there is no admin token of ${url} here to ask what is in use: set SLUICE_URL and SLUICE_TOKEN. ${advice}.`,
    );
  const client = new Client({
    url,
    token: login,
    userAgent: "sluice-cli/teardown",
    signal: session.signal,
    fetch: ports.fetch,
  });
  try {
    return {
      hosts: await collect((page) => client.hosts.list(page)),
      apps: await collect((page) => client.apps.list(page)),
    };
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    throw new CliError(
      "no_contact",
      `control at ${url} can't be asked what is in use: ${error.message}. ${advice}.`,
    );
  }
}
