import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { requireEnvironment } from "../http/require.ts";
import { toPage } from "../http/route-parts.ts";
import { iso } from "../iso.ts";
import { readReleaseCursor, releaseKey } from "../routes/releases.ts";
import { listReleases } from "../store/status.ts";
import { page } from "./layout.tsx";
import type { Place } from "./moves.tsx";
import { Ago, Name, State, Table, toneOf, Up, words } from "./pieces.tsx";

const PER_PAGE = 50;

/** All releases of an environment, newest first. */
export async function releasesPage(c: AppContext, place: Place): Promise<Response> {
  const { app, env } = place;
  authorize(c, { role: "viewer", app, environment: env });
  const before = readReleaseCursor(c.req.query("cursor"));
  const { environment } = await requireEnvironment(c, app, env);
  const rows = await listReleases(c.var.db, { environmentId: environment.id, before, limit: PER_PAGE + 1 });
  const item = ({ release }: (typeof rows)[number]) => release;
  const { items, nextCursor } = toPage(rows, PER_PAGE, { item, cursor: (row) => releaseKey(row.release) });
  return page(c, {
    title: `Releases · ${app}`,
    section: "/",
    children: (
      <>
        <Up app={app} env={env} />
        <h1>Releases</h1>
        <p class="lead">Newest first.</p>
        <Releases rows={items} place={place} now={c.var.now()} />
        {nextCursor && (
          <p>
            <a href={`/ui/apps/${app}/${env}/releases?cursor=${nextCursor}`}>Older</a>
          </p>
        )}
      </>
    ),
  });
}

interface ReleaseLine {
  readonly id: string;
  readonly version: string;
  readonly state: string;
  readonly kind: string;
  readonly by: string;
  readonly createdAt: number;
}

interface ReleasesProps {
  /** Newest first. */
  readonly rows: readonly ReleaseLine[];
  readonly place: Place;
  readonly now: number;
}

/** Each with the way to what it changed. */
export const Releases = ({ rows, place: { app, env }, now }: ReleasesProps) => (
  <Table
    label="Releases"
    stacks
    heads={["version", "state", "made by", "made", "compared"]}
    none={
      <>
        None yet: <code>{`sluice deploy -a ${app} -e ${env}`}</code> makes the first.
      </>
    }
  >
    {rows.map((row, index) => {
      const before = rows[index + 1];
      return (
        <tr>
          <th scope="row">
            <a href={`/ui/releases/${row.id}`}>{row.version}</a>
          </th>
          <td>
            <State tone={toneOf(row.state)}>{words(row.state)}</State>
          </td>
          <td>
            <Name>{row.by}</Name>
            {row.kind === "deploy" ? "" : ` (${row.kind})`}
          </td>
          <td class="when">
            <Ago at={iso(row.createdAt)} now={now} />
          </td>
          <td>
            {before && (
              <a href={`/ui/apps/${app}/${env}/compare?a=${before.id}&b=${row.id}`}>
                against {before.version}
              </a>
            )}
          </td>
        </tr>
      );
    })}
  </Table>
);
