/** The edge's own answers: what went wrong, in words, with the request's id, as a page or as JSON. */

/** Stable codes, documented in docs/edge.md. */
export type EdgeError =
  | "bad_request"
  | "upload_too_slow"
  | "hostname_unknown"
  | "table_unavailable"
  | "no_release"
  | "no_instance"
  | "maintenance"
  | "paused"
  | "preview_refused"
  | "origin_unreachable"
  | "origin_timeout"
  | "edge_failed";

export interface ErrorAnswer {
  readonly status: number;
  readonly code: EdgeError;
  readonly title: string;
  /** What failed with which value, and what a visitor or the operator may do. */
  readonly detail: string;
  readonly retryAfterS?: number;
}

const PAGE_STYLE =
  ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}" +
  "h1{font-size:1.4rem}small{opacity:.7}";

export function errorAnswer(request: Request, requestId: string, error: ErrorAnswer): Response {
  const headers = new Headers({
    "Cache-Control": "no-store",
    "X-Request-Id": requestId,
    "X-Sluice-Error": error.code,
    Vary: "Accept",
  });
  if (error.retryAfterS !== undefined) headers.set("Retry-After", String(error.retryAfterS));
  const asPage = (request.headers.get("accept") ?? "").includes("text/html");
  headers.set("Content-Type", asPage ? "text/html; charset=utf-8" : "application/problem+json");
  if (asPage) headers.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  const body = asPage ? page(error, requestId) : problem(error, requestId);
  return new Response(request.method === "HEAD" ? null : body, { status: error.status, headers });
}

/** RFC 9457, with the edge's code and the request's id. */
function problem(error: ErrorAnswer, requestId: string): string {
  const { status, code, title, detail } = error;
  return JSON.stringify({ type: "about:blank", title, status, code, detail, requestId });
}

function page(error: ErrorAnswer, requestId: string): string {
  const title = escapeHtml(error.title);
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>${title}</title><style>${PAGE_STYLE}</style><h1>${title}</h1><p>${escapeHtml(error.detail)}</p>` +
    `<small>${error.status} · ${error.code} · request ${escapeHtml(requestId)}</small></html>`
  );
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
