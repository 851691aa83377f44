import type { AppContext } from "../http/context.ts";
import { page } from "./layout.tsx";

const PROBLEMS: Readonly<Record<string, string>> = {
  unauthenticated: "This is no token that control knows.",
  token_expired: "This sign-in or its token has ended.",
  token_revoked: "This token was revoked.",
  forbidden: "A host's token opens no page.",
};

/** The way in: a token, for a session of twelve hours. */
export function loginPage(c: AppContext): Promise<Response> {
  const { problem, next = "/" } = c.req.query();
  const said = problem === undefined ? undefined : (PROBLEMS[problem] ?? "That did not work: try again.");
  return page(c, {
    title: "Sign in · Sluice",
    children: (
      <div class="login">
        <h1>Sluice</h1>
        <p class="lead">
          Sign in with a token: a viewer's reads, an approver's and a deployer's move traffic.
        </p>
        {said && (
          <p role="alert" class="bad">
            {said}
          </p>
        )}
        <form class="card" method="post" action="/login">
          <input type="hidden" name="next" value={next.slice(0, 500)} />
          <label>
            Token
            <input
              type="password"
              name="token"
              required
              autofocus
              autocomplete="current-password"
              placeholder="slu_…"
              maxlength={200}
            />
          </label>
          <div>
            <button class="main" type="submit">
              Sign in
            </button>
          </div>
        </form>
        <p class="soft">
          An administrator makes one: <code>sluice token create anna --role viewer</code>
        </p>
      </div>
    ),
  });
}
