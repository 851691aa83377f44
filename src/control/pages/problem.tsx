import type { AppContext } from "../http/context.ts";
import { statusOf } from "../http/problems.ts";
import type { Refusal } from "../refusal.ts";
import { type PageProps, page } from "./layout.tsx";
import { Worded } from "./pieces.tsx";

/** Whether a person's browser asks for a page, as against a script. */
export const wantsPage = (c: AppContext): boolean =>
  /^\/($|login$|ui(\/|$))/.test(c.req.path) && c.req.header("accept")?.includes("text/html") === true;

/** A refusal as a page: to the sign-in where that mends it. */
export async function problemPage(c: AppContext, refusal: Refusal): Promise<Response> {
  const status = statusOf(refusal.code) as NonNullable<PageProps["status"]>;
  if (status === 401) {
    const { pathname, search } = new URL(c.req.url);
    const next = c.req.method === "GET" ? `&next=${encodeURIComponent(pathname + search)}` : "";
    const hadSession = c.req.header("cookie")?.includes("sluice=") === true;
    return c.redirect(`/login?${hadSession ? "problem=token_expired" : ""}${next}`, 303);
  }
  return page(c, {
    title: `${status} · Sluice`,
    status,
    children: (
      <>
        <h1>{status === 404 ? "There is nothing here" : "This was refused"}</h1>
        <p class="lead">
          <Worded text={refusal.detail} />
        </p>
        {(refusal.next ?? []).map(({ command, when }) => (
          <p>
            <code>{command}</code> {when && <span class="soft">: {when}</span>}
          </p>
        ))}
        <p>
          <a href={backOf(c)}>Back</a>{" "}
          <span class="soft">
            · {refusal.code}, request {c.var.requestId}
          </span>
        </p>
      </>
    ),
  });
}

/** The environment that it was about, else the overview. */
const backOf = (c: AppContext) => /^\/ui\/apps\/[a-z0-9-]+\/[a-z0-9-]+/.exec(c.req.path)?.[0] ?? "/";
