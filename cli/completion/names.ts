import type { Session } from "../session.ts";
import type { Candidate, LiveKind, Wanted } from "./wanted.ts";

/** A person waits for it with a finger on the key. */
const WITHIN_MS = 1_000;
const MOST = 50;
/** What every shell takes as it is. Names that control refuses elsewhere are not offered either. */
const PLAIN = /^[\w.@%+,/{}*-]+$/;

/** Names that control knows, in time or not at all: completion is never a place for an error. */
export async function namesFor(
  session: Session,
  { live }: Pick<Wanted, "live">,
): Promise<readonly Candidate[]> {
  if (live === undefined) return [];
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly Candidate[]>((resolve) => {
    timer = setTimeout(resolve, WITHIN_MS, []);
  });
  try {
    const found = await Promise.race([LOOK[live](session), late]);
    return found.filter(({ value }) => PLAIN.test(value));
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
  }
}

const LOOK: Readonly<Record<LiveKind, (session: Session) => Promise<readonly Candidate[]>>> = {
  apps: async ({ client }) =>
    (await client.apps.list({ limit: MOST })).items.map(({ app }) => ({ value: app })),
  environments: async (session) => {
    const { environments } = await session.client.apps.get(session.app());
    return environments.map(({ environment, hostnames }) => ({
      value: environment,
      about: hostnames[0] ?? "",
    }));
  },
  releases: async (session) => {
    const { app, environment } = session.target();
    const { items } = await session.client.releases.list(app, environment, { limit: MOST });
    return items.map(({ version, state }) => ({ value: version, about: state }));
  },
  hosts: async ({ client }) =>
    (await client.hosts.list({ limit: MOST })).items.map(({ name, state }) => ({
      value: name,
      about: state,
    })),
};
