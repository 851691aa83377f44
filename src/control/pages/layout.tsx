import { html } from "hono/html";
import type { Child } from "hono/jsx";
import type { AppContext, Principal } from "../http/context.ts";
import { sha256 } from "../ids.ts";

/** A page of the dashboard: what its window is called, and whether it keeps itself up to date. */
export interface PageProps {
  readonly title: string;
  /** Of the window's icon. Default: the product's. */
  readonly icon?: string | undefined;
  /** Which entry of the navigation it belongs to. */
  readonly section?: (typeof SECTIONS)[number][0];
  /** It is refreshed in place; `feed`: the release whose events tell when. */
  readonly live?: { readonly feed: string | null; readonly says: string };
  readonly status?: 200 | 400 | 401 | 403 | 404 | 409 | 412 | 422 | 423 | 429 | 500 | 502 | 503;
  readonly children?: Child;
}

const SECTIONS = [
  ["/", "Overview"],
  ["/ui/hosts", "Hosts"],
  ["/ui/dora", "DORA"],
  ["/ui/audit", "Audit"],
  ["/ui/settings", "Settings"],
] as const;

/** Nothing inline, nothing from elsewhere, nothing to other sites. */
const POLICY =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/** Answers with a whole page. */
export async function page(c: AppContext, props: PageProps): Promise<Response> {
  const { style, script } = await readAssets();
  const who = (c.var as { principal?: Principal }).principal;
  c.header("content-security-policy", POLICY);
  // Under `no-referrer` a browser names no origin with a form, and the form would count as a stranger's.
  c.header("referrer-policy", "same-origin");
  c.header("vary", "Cookie, Authorization, Accept");
  const markup = (
    <html lang="en" data-now={c.var.now()}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>{props.title}</title>
        <link rel="icon" href={props.icon ?? "/assets/icon.svg"} type="image/svg+xml" />
        <link rel="stylesheet" href={`/assets/${style.name}`} />
        <script src={`/assets/${script.name}`} defer />
      </head>
      <body>
        <a class="skip" href="#main">
          To the content
        </a>
        {who && <Top who={who} section={props.section} />}
        <p id="notice" role="status" hidden />
        <main id="main">
          {props.live ? (
            <>
              <p id="said" class="sr" aria-live="polite">
                {props.live.says}
              </p>
              <div id="live" data-feed={props.live.feed ? `/api/v1/releases/${props.live.feed}/events` : ""}>
                {props.children}
              </div>
            </>
          ) : (
            props.children
          )}
        </main>
      </body>
    </html>
  );
  return c.html(html`<!doctype html>${markup}`, props.status ?? 200);
}

const Top = ({ who, section }: { who: Principal; section: PageProps["section"] }) => (
  <header class="top">
    <div>
      <a class="brand" href="/">
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M2 3h12v2H2zM2 7h8v2H2zM2 11h4v2H2z" fill="currentColor" />
        </svg>
        Sluice
      </a>
      <nav aria-label="Main">
        <ul>
          {SECTIONS.map(([href, name]) => (
            <li>
              <a href={href} aria-current={href === section ? "page" : undefined}>
                {name}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <form class="who" method="post" action="/logout">
        <span>
          {who.actor} <span class="soft">({who.role})</span>
        </span>
        <button class="plain" type="submit">
          Sign out
        </button>
      </form>
    </div>
  </header>
);

interface Asset {
  /** With its content's hash, so that it may be kept for ever. */
  readonly name: string;
  readonly text: string;
  readonly type: string;
}

/** The stylesheet and the script that `npm run build:agent` made. */
export async function readAssets(): Promise<{ style: Asset; script: Asset }> {
  const [{ default: style }, { default: script }] = await Promise.all([
    import("../../../dist/page-style.txt"),
    import("../../../dist/page-script.txt"),
  ]);
  const [styleHash, scriptHash] = await Promise.all([sha256(style), sha256(script)]);
  return {
    style: { name: `${styleHash.slice(0, 16)}.css`, text: style, type: "text/css; charset=utf-8" },
    script: { name: `${scriptHash.slice(0, 16)}.js`, text: script, type: "text/javascript; charset=utf-8" },
  };
}
