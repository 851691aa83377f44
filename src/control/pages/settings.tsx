import type { TokenView } from "../../protocol/api/tokens.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { everything, reaches } from "../identity/roles.ts";
import { type GrantRow, listGrants } from "../store/grants.ts";
import { listTrusts, type TrustRow } from "../store/identity/trusts.ts";
import { listWebhooks } from "../store/notify/webhooks.ts";
import { listTokens } from "../store/tokens.ts";
import { tokenView } from "../views/rows.ts";
import { webhookView } from "../views/webhook.ts";
import { page } from "./layout.tsx";
import { Ago, Name, State, scope, Table } from "./pieces.tsx";
import { Webhooks } from "./webhooks.tsx";

const MOST = 200;

/** Who may do what. An administrator sees everybody's tokens, anybody else their own reach. */
export async function settingsPage(c: AppContext): Promise<Response> {
  const { actor, role, app, environment } = c.var.principal;
  authorize(c, { role: "viewer", app, environment });
  const isAdmin = reaches(c.var.principal, everything("admin"));
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
        {isAdmin ? (
          await installation(c)
        ) : (
          <p class="card none">An administrator sees tokens, trusts, grants and webhooks here.</p>
        )}
      </>
    ),
  });
}

/** What only an administrator may see: who has a way in, and who is told. */
async function installation(c: AppContext) {
  const { db } = c.var;
  const now = c.var.now();
  const [tokens, trusts, grants, webhooks] = await Promise.all([
    listTokens(db, { before: null, limit: MOST }),
    listTrusts(db),
    listGrants(db, MOST),
    listWebhooks(db),
  ]);
  return (
    <>
      <h2>Tokens</h2>
      <Tokens tokens={tokens.map(tokenView)} now={now} />
      <h2>
        Trust <small>CI jobs that get a token without a secret</small>
      </h2>
      <Trusts trusts={trusts} />
      <h2>
        Grants <small>hostnames that apps may have</small>
      </h2>
      <Grants grants={grants} />
      <h2>Webhooks</h2>
      <Webhooks webhooks={webhooks.map(webhookView)} />
    </>
  );
}

const Tokens = ({ tokens, now }: { tokens: readonly TokenView[]; now: number }) => (
  <Table
    label="Tokens"
    stacks
    heads={["name", "role", "for", "state", "last used"]}
    none="None but the first one."
  >
    {tokens.map((token) => {
      const isOver = token.expiresAt !== null && Date.parse(token.expiresAt) <= now;
      const word = token.revokedAt ? "revoked" : isOver ? "expired" : "good";
      return (
        <tr>
          <th scope="row">
            <Name>{token.name}</Name>
          </th>
          <td data-label="role">{token.role}</td>
          <td data-label="for">
            {token.role === "agent" ? "its own host" : scope(token.app, token.environment)}
          </td>
          <td>
            <State tone={word === "good" ? "ok" : "idle"}>{word}</State>
          </td>
          <td class="when" data-label="last used">
            {token.lastUsedAt ? <Ago at={token.lastUsedAt} now={now} /> : "never"}
          </td>
        </tr>
      );
    })}
  </Table>
);

const Trusts = ({ trusts }: { trusts: readonly TrustRow[] }) => (
  <Table
    label="Trust"
    stacks
    heads={["project", "from", "claims", "role", "for"]}
    none={
      <>
        No CI system is trusted: <code>sluice trust add</code> says how.
      </>
    }
  >
    {trusts.map((trust) => (
      <tr>
        <th scope="row" class="long">
          <Name>{trust.project}</Name>
        </th>
        <td>
          {trust.provider}
          <div class="soft">{new URL(trust.issuer).host}</div>
        </td>
        <td>
          <Claim name="ref" values={trust.refs} />
          {Object.entries(trust.pins).map(([name, values]) => (
            <Claim name={name} values={values} />
          ))}
          {trust.pinOnFirstUse.length > 0 && (
            <div class="warn">the first token to fit pins {trust.pinOnFirstUse.join(", ")}</div>
          )}
        </td>
        <td>
          {trust.role}
          {trust.action === "deploy" && <div class="soft">deploys only</div>}
        </td>
        <td>{scope(trust.app, trust.environment)}</td>
      </tr>
    ))}
  </Table>
);

const Claim = ({ name, values }: { name: string; values: readonly string[] }) => (
  <div>
    <code>
      {name} = {values.join(" | ")}
    </code>
  </div>
);

const Grants = ({ grants }: { grants: readonly GrantRow[] }) => (
  <Table
    label="Grants"
    stacks
    heads={["app", "hostname", "also from another site", "allowed by"]}
    none="None yet: an administrator's apply grants what it names."
  >
    {grants.map(({ app, pattern, claim, by }) => (
      <tr>
        <th scope="row">{app}</th>
        <td class="whole">
          <code>{pattern}</code>
        </td>
        <td data-label="also from another site">{claim ? "yes" : "no"}</td>
        <td data-label="allowed by">{by}</td>
      </tr>
    ))}
  </Table>
);
