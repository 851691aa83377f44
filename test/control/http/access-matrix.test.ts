import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { createApp } from "../../../src/control/app.ts";
import { ACCESS_RULES, type Rule } from "../support/access-rules.ts";
import { Api } from "../support/api.ts";
import * as world from "../support/world.ts";

/**
 * Every route of control's, asked by everybody, live: each role with each reach, both hosts' agents, an unknown token, nobody.
 * `npm run access-matrix` prints it.
 */
interface Principal {
  readonly name: string;
  readonly role: "nobody" | "agent" | "viewer" | "approver" | "deployer" | "admin";
  readonly app?: string;
  readonly environment?: string;
}
const REACHES = [
  {},
  { app: "shop" },
  { app: "shop", environment: "production" },
  { app: "shop", environment: "staging" },
  { app: "other" },
];
const PRINCIPALS: readonly Principal[] = [
  { name: "nobody", role: "nobody" },
  { name: "unknown", role: "nobody" },
  ...(["viewer", "approver", "deployer", "admin"] as const).flatMap((role) =>
    REACHES.map((reach) => ({ name: `${role} ${Object.values(reach).join("/") || "*"}`, role, ...reach })),
  ),
  { name: "agent of the host", role: "agent" },
  { name: "agent of another", role: "agent" },
];
const RANK = { nobody: 0, agent: 0, viewer: 1, approver: 2, deployer: 3, admin: 4 } as const;

function mayPass({ role, app, environment }: Principal, { who, of }: Rule): boolean {
  if (who === "anybody") return true;
  if (who === "agent") return role === "agent";
  if (RANK[role] < RANK[who]) return false;
  const reaches = {
    everything: app === undefined,
    app: app === undefined || (app === "shop" && environment === undefined),
    environment: app === undefined || (app === "shop" && (environment ?? "production") === "production"),
    shown: app === undefined || app === "shop",
    own: true,
  };
  return of !== undefined && reaches[of];
}

const routes = () => {
  const found = createApp()
    .routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
  return [...new Set(found)];
};

/** What the paths' names stand for. */
type Names = Readonly<Record<string, string>>;
interface Stage {
  readonly api: Api;
  readonly names: Names;
  readonly tokens: ReadonlyMap<string, string | null>;
}

async function stage(): Promise<Stage> {
  await world.emptyWorld();
  const api = new Api({ perMinute: { people: 100_000, agents: 100_000 } });
  const environmentId = await world.applied(api);
  await world.applied(api, "other");
  const id = await world.release(environmentId);
  const host = await world.enrolled(api, "web-1");
  const other = await world.enrolled(api, "web-2");
  const tokens = new Map<string, string | null>();
  for (const { name, role, ...reach } of PRINCIPALS)
    if (role !== "nobody" && role !== "agent") tokens.set(name, await api.token(role, reach));
  tokens.set("nobody", null).set("unknown", `slu_${"x".repeat(43)}`);
  tokens.set("agent of the host", host.token).set("agent of another", other.token);
  const victim = await api.post("/api/v1/tokens", { name: "victim", role: "viewer" });
  const { id: token } = await victim.json<{ id: string }>();
  const fixed = {
    app: "shop",
    env: "production",
    host: "web-1",
    registry: "ghcr.io",
    number: "1",
    pattern: "a.example.com",
    digest: world.DIGEST,
    blob: world.DIGEST,
  };
  return {
    api,
    tokens,
    names: { ...fixed, name: "DB_URL", action: "start", move: "rollback", stream: "log_0000", id, token },
  };
}

/** Of what others are asked about, or ask with. */
const TAKES_AWAY = /^DELETE .*\/\{(app|env|host)\}$|^DELETE \/api\/v1\/tokens|rotate$/;

/** Whether the door was shut: not whether the thing asked for is there, or is possible now. */
async function passes({ api, names, tokens }: Stage, route: string, who: Principal, rule: Rule) {
  const [method = "", path = ""] = route.split(" ");
  const named: Names = {
    ...names,
    ...(path.startsWith("/api/v1/tokens/") && { id: names.token ?? "" }),
    ...(path.includes("/accessories/") && { name: "db" }),
  };
  const url = path.replace(/\{(\w+)\}/g, (_, key: string) => named[key] ?? "none");
  const { json, text } = rule;
  const call = {
    token: tokens.get(who.name) ?? null,
    ...(text === undefined ? {} : { text }),
    ...(json === undefined ? {} : { json }),
  };
  const response = await api.call(method, url, call);
  const isTold = response.status === 403 || response.status >= 500;
  const said = isTold ? await response.text() : "";
  if (!isTold) await response.body?.cancel();
  if (response.status >= 500) throw new Error(`${route} for ${who.name}: ${response.status} ${said}`);
  return response.status !== 401 && !(response.status === 403 && said.includes("this needs "));
}

it("every route has a rule, and every rule a route", () => {
  const ruled = Object.keys(ACCESS_RULES).map((rule) => rule.replace(/\?.*/, ""));
  expect([...new Set(ruled)].sort()).toEqual(routes().sort());
});

it("every route lets in whom its rule names, and nobody else", { timeout: 300_000 }, async () => {
  let at = await stage();
  const rows: string[] = [];
  const wrong: string[] = [];
  let allowed = 0;
  for (const [route, rule] of Object.entries(ACCESS_RULES)) {
    // Those who may not come first: whoever may might take the thing away.
    const order = PRINCIPALS.toSorted((a, b) => Number(mayPass(a, rule)) - Number(mayPass(b, rule)));
    const passed = new Set<string>();
    for (const who of order) {
      if (await passes(at, route, who, rule)) passed.add(who.name);
      if (passed.has(who.name) !== mayPass(who, rule))
        wrong.push(`${route}: ${who.name} ${passed.has(who.name) ? "got in" : "was kept out"}`);
    }
    allowed += passed.size;
    rows.push(`${PRINCIPALS.map(({ name }) => (passed.has(name) ? "●" : "·")).join(" ")}  ${route}`);
    if (TAKES_AWAY.test(route)) at = await stage();
    // Or refusals enough would make strangers of those without a token.
    at.api.time += 61_000;
  }
  const asked = rows.length * PRINCIPALS.length;
  const heads = PRINCIPALS.map(({ name }, index) => `${"│ ".repeat(index)}${name}`);
  const totals = `${rows.length} routes × ${PRINCIPALS.length} principals: ${asked} asked, ${allowed} let in, ${asked - allowed} refused`;
  if (env.PRINT_ACCESS_MATRIX) console.log([...heads, ...rows, "", totals].join("\n"));
  expect(wrong).toEqual([]);
});
