import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { requireEnvironment } from "../http/require.ts";
import { reaches } from "../identity/roles.ts";
import { findReleases } from "../store/status.ts";
import { page } from "./layout.tsx";
import type { Place } from "./moves.tsx";
import { Up } from "./pieces.tsx";

const FILTERS = ["release", "host", "accessory", "run", "since"] as const;
const TAIL = "200";

/** Log lines as they come. The script reads the very stream that `sluice logs --follow` does, and draws what is in sight. */
export async function logsPage(c: AppContext, place: Place): Promise<Response> {
  const { app, env } = place;
  authorize(c, { role: "viewer", app, environment: env });
  const { environment } = await requireEnvironment(c, app, env);
  const asked = FILTERS.flatMap((name) => {
    const value = c.req.query(name);
    return value ? [[name, value] as const] : [];
  });
  const { release } = Object.fromEntries(asked);
  const known = release ? await findReleases(c.var.db, environment.id, [release]) : [];
  const query = new URLSearchParams([["follow", "1"], ["tail", TAIL], ...asked]);
  const mayRead = reaches(c.var.principal, { role: "deployer", app, environment: env });
  return page(c, {
    title: `Log · ${app}`,
    section: "/",
    children: (
      <>
        <Up app={app} env={env} />
        <h1>
          Log{" "}
          <small class="soft">
            {asked.map(
              ([name, value]) => `${name} ${name === "release" ? (known[0]?.version ?? value) : value}`,
            )}
          </small>
        </h1>
        {mayRead ? (
          <Tail
            url={`/api/v1/apps/${app}/envs/${env}/logs?${query}`}
            command={`sluice logs -a ${app} -e ${env}`}
          />
        ) : (
          <p class="card none">
            Log lines may hold what the app's users typed. Reading them needs the role deployer for {app}/
            {env}.
          </p>
        )}
      </>
    ),
  });
}

const Tail = ({ url, command }: { url: string; command: string }) => (
  <>
    <noscript>
      <p class="card none">
        A log that goes on needs JavaScript, or a terminal: <code>{command} --follow</code>
      </p>
    </noscript>
    <p class="log-bar">
      <label>
        Only lines with <input id="log-filter" type="search" autocomplete="off" spellcheck={false} />
      </label>
      <button id="log-follow" type="button" aria-pressed="true">
        Follow
      </button>
      <span id="log-says" class="soft" role="status">
        connecting …
      </span>
    </p>
    <section id="log" class="log" data-url={url} tabindex={0} aria-label="Log lines" />
  </>
);
