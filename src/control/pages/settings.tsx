import { authorize, everything, reaches } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { listTokens } from "../store/tokens.ts";
import { tokenView } from "../views/rows.ts";
import { page } from "./layout.tsx";
import { Ago, State, Table } from "./parts.tsx";

const MOST = 200;

/** Who may do what. An administrator sees everybody's tokens, anybody else their own reach. */
export async function settingsPage(c: AppContext): Promise<Response> {
  const { actor, role, app, environment } = c.var.principal;
  authorize(c, { role: "viewer", app, environment });
  const now = c.var.now();
  const isAdmin = reaches(c.var.principal, everything("admin"));
  const tokens = isAdmin ? (await listTokens(c.var.db, { before: null, limit: MOST })).map(tokenView) : [];
  return page(c, {
    title: "Settings · Sluice",
    section: "/ui/settings",
    children: (
      <>
        <h1>Settings</h1>
        <h2>You</h2>
        <section class="card" aria-label="You">
          <dl class="facts">
            <dt>Signed in as</dt>
            <dd>{actor}</dd>
            <dt>Role</dt>
            <dd>{role}</dd>
            <dt>For</dt>
            <dd>{scope(app, environment)}</dd>
          </dl>
        </section>
        <h2>Tokens</h2>
        {!isAdmin && <p class="card none">An administrator sees the tokens here.</p>}
        {isAdmin && (
          <Table
            label="Tokens"
            heads={["name", "role", "for", "state", "last used"]}
            none="None but the first one."
          >
            {tokens.map((token) => {
              const isOver = token.expiresAt !== null && Date.parse(token.expiresAt) <= now;
              const word = token.revokedAt ? "revoked" : isOver ? "expired" : "good";
              return (
                <tr>
                  <th scope="row">{token.name}</th>
                  <td>{token.role}</td>
                  <td>{scope(token.app, token.environment)}</td>
                  <td>
                    <State tone={word === "good" ? "ok" : "idle"}>{word}</State>
                  </td>
                  <td class="when">{token.lastUsedAt ? <Ago at={token.lastUsedAt} now={now} /> : "never"}</td>
                </tr>
              );
            })}
          </Table>
        )}
      </>
    ),
  });
}

const scope = (app: string | null, environment: string | null) =>
  app === null ? "everything" : environment === null ? app : `${app} / ${environment}`;
