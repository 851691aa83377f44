import * as world from "./world.ts";

/** Who may call each route, and a body that only its door can refuse. A route without a rule fails the matrix. */
export interface Rule {
  readonly who: "anybody" | "agent" | "viewer" | "approver" | "deployer" | "admin";
  /**
   * What a person's token must reach. `shown`: any of the app, of which it sees its own part. `own`: whatever it reaches;
   * it sees that and no more.
   */
  readonly of?: "everything" | "app" | "environment" | "shown" | "own" | undefined;
  readonly json?: unknown;
  readonly text?: string;
}

const reads = (of: Rule["of"]): Rule => ({ who: "viewer", of });
const approves = (of: Rule["of"], json?: unknown): Rule => ({ who: "approver", of, json });
const deploys = (of: Rule["of"], json?: unknown): Rule => ({ who: "deployer", of, json });
const administers = (json?: unknown): Rule => ({ who: "admin", of: "everything", json });
const agents = (json?: unknown): Rule => ({ who: "agent", json });
const anybody: Rule = { who: "anybody" };

const ENV = "/api/v1/apps/{app}/envs/{env}";
const APP = "/api/v1/apps/{app}";
const RELEASE = "/api/v1/releases/{id}";
const HOST = "/api/v1/hosts/{host}";
const PAGES = "/ui/apps/{app}/{env}";
const LEASE = { lease: "none" };

export const ACCESS_RULES: Readonly<Record<string, Rule>> = {
  "GET /live": anybody,
  "GET /health": anybody,
  "GET /ready": anybody,
  "GET /install.sh": anybody,
  "GET /agent/agent.mjs": anybody,
  "GET /cli.sh": anybody,
  "GET /cli.mjs": anybody,
  "GET /llms.txt": anybody,
  "GET /docs/{page}": anybody,
  "GET /api/openapi.json": anybody,
  "GET /api/docs": anybody,
  "GET /api/manifest.schema.json": anybody,
  "POST /login": { ...anybody, json: { token: `slu_${"x".repeat(43)}` } },
  "POST /logout": anybody,
  "POST /api/v1/oidc/exchange": { ...anybody, json: { token: "none" } },
  "POST /agent/v1/enroll": { ...anybody, json: world.enrollBody(`sle_${"x".repeat(43)}`) },

  "POST /agent/v1/poll": agents(world.pollBody()),
  "POST /agent/v1/jobs/{id}/progress": agents({ ...LEASE, message: "pulling" }),
  "POST /agent/v1/jobs/{id}/done": agents({ ...LEASE, ok: true, result: {} }),
  "POST /agent/v1/instances/{id}/claim": agents(),
  "POST /agent/v1/health": agents({ reports: [{ instance: "ins_none", seq: 1, at: 1, state: "ready" }] }),
  "POST /agent/v1/rotate": agents(),
  "POST /agent/v1/tunnel": agents(),
  "GET /agent/v1/images/{digest}": agents(),
  "GET /agent/v1/images/{digest}/blobs/{blob}": agents(),
  "GET /agent/v1/wake": agents(),
  "POST /agent/v1/logs/{stream}": agents({ chunk: "1", lines: [] }),

  "GET /api/v1/apps": reads("own"),
  [`GET ${APP}`]: reads("shown"),
  [`PUT ${APP}`]: { ...deploys("app"), text: world.manifest() },
  [`DELETE ${APP}`]: { who: "admin", of: "app" },
  [`GET ${APP}/hostnames`]: reads("app"),
  [`PUT ${APP}/hostnames/{pattern}`]: administers({}),
  [`DELETE ${APP}/hostnames/{pattern}`]: administers(),
  [`POST ${ENV}/images/known`]: deploys("environment", {}),
  [`PUT ${ENV}/images/parts/{digest}`]: { ...deploys("environment"), text: "part" },
  [`PUT ${ENV}/images/blobs/{digest}`]: deploys("environment", { size: 1, parts: [world.DIGEST] }),
  [`PUT ${ENV}/images/{digest}`]: deploys("environment", { manifest: "{}" }),
  [`GET ${APP}/registries`]: reads("app"),
  [`PUT ${APP}/registries/{registry}`]: deploys("app", { username: "bot", password: "secret" }),
  [`DELETE ${APP}/registries/{registry}`]: deploys("app"),

  [`GET ${APP}/previews`]: reads("shown"),
  [`POST ${APP}/previews`]: deploys("app", { number: 1, image: "ghcr.io/acme/shop:1" }),
  [`DELETE ${APP}/previews/{number}`]: deploys("app"),

  [`GET ${ENV}`]: reads("environment"),
  [`DELETE ${ENV}`]: { who: "admin", of: "environment" },
  [`GET ${ENV}/accessories`]: reads("environment"),
  [`POST ${ENV}/accessories/{name}/{action}`]: deploys("environment", {}),
  [`DELETE ${ENV}/accessories/{name}`]: deploys("environment"),
  [`GET ${ENV}/logs`]: deploys("environment"),
  [`GET ${ENV}/runs`]: reads("environment"),
  [`POST ${ENV}/runs`]: deploys("environment", { command: ["true"] }),
  [`GET ${ENV}/runs/{run}`]: reads("environment"),
  [`POST ${ENV}/runs/{run}/stop`]: deploys("environment"),
  [`POST ${ENV}/restart`]: deploys("environment"),
  [`PUT ${ENV}/scale`]: deploys("environment", { counts: { web: 2 } }),
  [`PUT ${ENV}/lock`]: deploys("environment", { reason: "audit" }),
  [`DELETE ${ENV}/lock`]: deploys("environment"),
  [`PUT ${ENV}/maintenance`]: deploys("environment", {}),
  [`DELETE ${ENV}/maintenance`]: deploys("environment"),
  [`GET ${ENV}/releases`]: reads("environment"),
  [`POST ${ENV}/releases`]: deploys("environment", {}),
  [`GET ${ENV}/plan/{move}`]: reads("environment"),
  [`GET ${ENV}/visits`]: reads("environment"),
  [`POST ${ENV}/rollback`]: deploys("environment", {}),
  [`PUT ${ENV}/weights`]: deploys("environment", { v1: 100 }),
  [`GET ${ENV}/secrets`]: reads("environment"),
  [`PUT ${ENV}/secrets/{name}`]: deploys("environment", { value: "x" }),
  [`DELETE ${ENV}/secrets/{name}`]: deploys("environment"),

  [`GET ${RELEASE}`]: reads("environment"),
  [`GET ${RELEASE}/events`]: reads("environment"),
  [`GET ${RELEASE}/verdicts`]: reads("environment"),
  [`GET ${RELEASE}/replay`]: reads("environment"),
  [`POST ${RELEASE}/approve`]: approves("environment", {}),
  [`POST ${RELEASE}/reject`]: approves("environment", {}),
  [`POST ${RELEASE}/abort`]: approves("environment", {}),
  [`POST ${RELEASE}/promote`]: approves("environment", {}),
  [`POST ${RELEASE}/pause`]: approves("environment", {}),
  [`POST ${RELEASE}/resume`]: approves("environment", {}),
  [`POST ${RELEASE}/preview`]: deploys("environment", {}),

  "GET /login": anybody,
  "GET /assets/icon.svg": anybody,
  "GET /assets/{file}": anybody,
  "GET /": reads("own"),
  "GET /ui/hosts": reads("everything"),
  "GET /ui/audit": reads("own"),
  "GET /ui/dora": reads("own"),
  "GET /ui/webhooks/{id}": administers(),
  "GET /ui/settings": reads("own"),
  "GET /ui/releases/{id}": reads("environment"),
  [`GET ${PAGES}`]: reads("environment"),
  [`GET ${PAGES}/compare`]: reads("environment"),
  [`GET ${PAGES}/logs`]: reads("environment"),
  [`GET ${PAGES}/runs`]: reads("environment"),
  [`GET ${PAGES}/releases`]: reads("environment"),
  [`GET ${PAGES}/moves/{move}`]: reads("environment"),
  [`POST ${PAGES}/moves/{move}`]: { ...deploys("environment"), text: "" },

  "GET /api/v1/hosts": reads("everything"),
  "POST /api/v1/hosts/enrollments": administers({ name: "web-9" }),
  [`GET ${HOST}`]: reads("everything"),
  [`POST ${HOST}/rotate`]: administers(),
  [`POST ${HOST}/tunnel/rotate`]: administers(),
  [`PUT ${HOST}/drain`]: administers(),
  [`DELETE ${HOST}/drain`]: administers(),
  [`DELETE ${HOST}`]: administers(),
  "GET /api/v1/whoami": reads("own"),
  "POST /api/v1/oidc/renew": reads("own"),
  "POST /api/v1/oidc/explain": administers({ token: "none" }),
  "GET /api/v1/trusts": administers(),
  "POST /api/v1/trusts": administers({ provider: "github", project: "a/b", refs: ["**"], app: "shop" }),
  "DELETE /api/v1/trusts/{id}": administers(),
  "GET /api/v1/people": administers(),
  "POST /api/v1/people/grants": administers({ who: "ann@acme.test", role: "viewer" }),
  "DELETE /api/v1/people/grants/{id}": administers(),
  "PUT /api/v1/people/links": administers({ identity: "github:1", email: "ann@acme.test" }),
  "DELETE /api/v1/people/links/{identity}": administers(),
  "PUT /api/v1/people/access": administers({ team: "acme", audience: "ab".repeat(32) }),
  "DELETE /api/v1/people/access": administers(),
  "GET /api/v1/tokens": administers(),
  "POST /api/v1/tokens": administers({ name: "new", role: "viewer" }),
  "DELETE /api/v1/tokens/{id}": administers(),
  "GET /api/v1/webhooks": administers(),
  "POST /api/v1/webhooks": administers({ url: "https://127.0.0.1/" }),
  "DELETE /api/v1/webhooks/{id}": administers(),
  "GET /api/v1/webhooks/{id}/deliveries": administers(),
  "POST /api/v1/webhooks/{id}/replay": administers({}),
  "POST /api/v1/webhooks/{id}/test": administers(),
  "POST /api/v1/webhooks/{id}/secret": administers(),
  "POST /slack/{id}/actions": anybody,
  "GET /api/v1/audit": reads("own"),
  "GET /api/v1/audit/chain": reads("everything"),
  "GET /metrics": reads("own"),
  "GET /api/v1/dora": reads("own"),
  "GET /api/v1/doctor": reads("everything"),
  "GET /api/v1/doctor?live=1": administers(),
  "POST /api/v1/doctor/questions": administers({ kind: "batch" }),
  "POST /api/v1/secrets/reseal": administers(),
};
