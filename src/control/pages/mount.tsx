import { z } from "zod";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { environmentParams, newRouter } from "../http/route-parts.ts";
import { auditPage } from "./audit.tsx";
import { comparePage } from "./compare.tsx";
import { doraPage } from "./dora.tsx";
import { environmentPage } from "./environment.tsx";
import { hostsPage } from "./hosts.tsx";
import { readAssets } from "./layout.tsx";
import { loginPage } from "./login.tsx";
import { logsPage } from "./logs.tsx";
import { type Forward, makeMove, movePage } from "./moves.tsx";
import { overviewPage } from "./overview.tsx";
import type { Tone } from "./pieces.tsx";
import { releasePage } from "./release.tsx";
import { releasesPage } from "./releases.tsx";
import { runsPage } from "./runs.tsx";
import { settingsPage } from "./settings.tsx";
import { webhookPage } from "./webhooks.tsx";

/** The dashboard. Its pages read what the API reads; what changes something is sent through the API itself. */
export const pageRoutes = (forward: Forward) =>
  newRouter()
    .get("/login", loginPage)
    .get("/", overviewPage)
    .get("/ui/hosts", hostsPage)
    .get("/ui/dora", doraPage)
    .get("/ui/audit", auditPage)
    .get("/ui/settings", settingsPage)
    .get("/ui/webhooks/:id", webhookPage)
    .get("/ui/releases/:id", (c) => releasePage(c, c.req.param("id")))
    .get("/ui/apps/:app/:env", (c) => environmentPage(c, at(c)))
    .get("/ui/apps/:app/:env/compare", (c) => comparePage(c, at(c)))
    .get("/ui/apps/:app/:env/logs", (c) => logsPage(c, at(c)))
    .get("/ui/apps/:app/:env/releases", (c) => releasesPage(c, at(c)))
    .get("/ui/apps/:app/:env/runs", (c) => runsPage(c, at(c)))
    .get("/ui/apps/:app/:env/moves/:move", (c) => movePage(c, { ...at(c), move: c.req.param("move") }))
    .post("/ui/apps/:app/:env/moves/:move", (c) =>
      makeMove(c, { ...at(c), move: c.req.param("move") }, forward),
    );

function at(c: AppContext): { app: string; env: string } {
  const parsed = environmentParams.safeParse(c.req.param());
  if (parsed.success) return parsed.data;
  throw new ProblemError({ code: "not_found", detail: "no app or environment has such a name" });
}

const iconQuery = z.object({
  tone: z.enum(["ok", "moving", "warn", "bad", "idle"]).catch("idle"),
  at: z.coerce.number().min(0).max(100).catch(100),
});
const COLOURS = {
  ok: "#1f8a4c",
  moving: "#3b6fe0",
  warn: "#c07a00",
  bad: "#d13a30",
  idle: "#7a828a",
} as const satisfies Record<Tone, string>;

const FOREVER = { "cache-control": "public, max-age=31536000, immutable" };

/** What every page's head names. The same for everybody, so nobody is asked who they are. */
export const assetRoutes = () =>
  newRouter()
    .get("/assets/icon.svg", (c) => {
      const { tone, at: share } = iconQuery.parse(c.req.query());
      const width = (share * 28) / 100;
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="${COLOURS[tone]}"/><rect x="2" y="20" width="28" height="8" rx="2" fill="#fff" opacity=".35"/><rect x="2" y="20" width="${width}" height="8" rx="2" fill="#fff"/><path d="M4 5h24v3H4zM4 12h15v3H4z" fill="#fff"/></svg>`;
      return c.body(svg, 200, { "content-type": "image/svg+xml", ...FOREVER });
    })
    .get("/assets/:file", async (c) => {
      const { style, script } = await readAssets();
      const asset = [style, script].find(({ name }) => name === c.req.param("file"));
      if (asset) return c.body(asset.text, 200, { "content-type": asset.type, ...FOREVER });
      throw new ProblemError({
        code: "not_found",
        detail: "this file belongs to another version of the pages",
      });
    });
