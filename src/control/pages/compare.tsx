import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { requireEnvironment } from "../http/require.ts";
import { findReleases, type ReleaseRow, readRelease } from "../store/status.ts";
import { type Difference, differences } from "../views/differences.ts";
import { inManifestWords } from "../views/spec-words.ts";
import { page } from "./layout.tsx";
import type { Place } from "./moves.tsx";
import { Table, Up } from "./pieces.tsx";

/** Two releases side by side: what runs, with which settings. */
export async function comparePage(c: AppContext, { app, env }: Place): Promise<Response> {
  authorize(c, { role: "viewer", app, environment: env });
  const { environment } = await requireEnvironment(c, app, env);
  const { a = "", b = "" } = c.req.query();
  const known = await findReleases(c.var.db, environment.id, [a, b]);
  const find = async (key: string) => {
    const found = known.find(({ id, version }) => id === key || version === key);
    const status = found && (await readRelease(c.var.db, found.id));
    if (status) return status.release;
    throw new ProblemError({ code: "not_found", detail: `there is no release \`${key.slice(0, 64)}\` here` });
  };
  const [first, second] = await Promise.all([find(a), find(b)]);
  return page(c, {
    title: `${first.version} → ${second.version} · ${app}`,
    section: "/",
    children: (
      <>
        <Up app={app} env={env} />
        <h1>
          {first.version} → {second.version}
        </h1>
        <p class="lead">
          <a href={`/ui/apps/${app}/${env}/compare?a=${second.id}&b=${first.id}`}>The other way round</a>
        </p>
        <Changes changes={changesOf(first, second)} />
      </>
    ),
  });
}

/** What differs between two releases, image included. */
export const changesOf = (a: ReleaseRow, b: ReleaseRow): Difference[] => [
  ...differences({ image: a.image, digest: a.digest }, { image: b.image, digest: b.digest }),
  ...differences(a.spec, b.spec)
    .filter(({ path }) => path !== "image")
    .map(inManifestWords),
];

export const Changes = ({ changes }: { changes: readonly Difference[] }) => (
  <Table
    label="Changes"
    stacks
    heads={["key", "before", "after"]}
    none="Nothing: the same image with the same settings."
  >
    {changes.map(({ path, before, after }) => (
      <tr>
        <th scope="row" class="long">
          <code>{path}</code>
        </th>
        <td data-label="before">
          <del>
            <code>{said(before)}</code>
          </del>
        </td>
        <td data-label="after">
          <ins>
            <code>{said(after)}</code>
          </ins>
        </td>
      </tr>
    ))}
  </Table>
);

const said = (value: unknown) =>
  value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value);
