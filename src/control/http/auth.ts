import type { SQL } from "drizzle-orm";
import type { MiddlewareHandler } from "hono";
import { err, ok, type Result } from "../../domain/result.ts";
import { moment } from "../../domain/times.ts";
import type { NextStep } from "../../protocol/problem.ts";
import type { ControlEnv } from "../env.ts";
import { takeOver } from "../hosts/rotate.ts";
import { whoFromAccess } from "../identity/cloudflare-access.ts";
import type { Keys } from "../identity/keys.ts";
import { type Need, reaches } from "../identity/roles.ts";
import { sha256 } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { type Db, openDb } from "../store/db.ts";
import { noteStaleToken } from "../store/hosts.ts";
import { BOOTSTRAP_ID, findToken, hostByToken, type TokenRow, touchToken } from "../store/tokens.ts";
import { type AppContext, type AppEnv, inBackground, type Principal } from "./context.ts";
import { ProblemError } from "./problems.ts";
import { sessionOf, tokenOfSession } from "./session.ts";

const TOKEN = /^Bearer +(sl[ue]_[A-Za-z0-9_-]{16,100})$/i;
/** How often at most "last used" is written. */
const TOUCH_MS = 60_000;

/** SHA-256 of the bearer token, or undefined when there is none that could be valid. */
export async function tokenHash(header: string | undefined): Promise<string | undefined> {
  const token = TOKEN.exec(header ?? "")?.[1];
  return token === undefined ? undefined : sha256(token);
}

/** Finds who a token's hash belongs to, or says exactly why nobody. `sent`: the header that it stood in, if any. */
export async function identify(
  at: { env: ControlEnv; db: Db; now: number; sent: string | undefined },
  hash: string | undefined,
): Promise<Result<{ principal: Principal; row: TokenRow | null }, Refusal>> {
  if (hash === undefined) {
    return err({ code: "unauthenticated", detail: at.sent === undefined ? NO_TOKEN : MALFORMED });
  }
  if (isBootstrapAdmin(at.env, hash)) return ok({ principal: BOOTSTRAP, row: null });
  const row = await findToken(at.db, hash);
  if (!row) return err({ code: "unauthenticated", detail: "control does not know this token" });
  if (row.revokedAt !== null) {
    // Its own agent has a newer one: whoever sends this took it, or was put back from a copy.
    if (row.role === "agent" && row.hostId !== null) await noteStaleToken(at.db, row.hostId, at.now);
    const detail = `the token \`${row.name}\` was revoked at ${moment(row.revokedAt)}`;
    return err({ code: "token_revoked", detail, next: anotherFor(row) });
  }
  if (row.expiresAt !== null && row.expiresAt <= at.now) {
    const detail = `the token \`${row.name}\` expired at ${moment(row.expiresAt)}`;
    return err({ code: "token_expired", detail, next: anotherFor(row) });
  }
  return ok({ principal: toPrincipal(row), row });
}

/** One like it. A host gets its own by being enrolled, and its agent says so. */
function anotherFor({ role, app, environment, trustId }: TokenRow): NextStep[] {
  const when = "an administrator makes a new one";
  if (role === "agent") return [];
  if (trustId !== null) return [{ command: "sluice trust list", when: "to see whom control believes" }];
  return [{ command: tokenCommand({ role, app, environment }), when }];
}

const NO_TOKEN = "this needs a token: send `Authorization: Bearer slu_…`";
const MALFORMED =
  "the Authorization header has no token of Sluice's in it: send `Bearer slu_…`, whole, unquoted and on one line";

const BOOTSTRAP: Principal = {
  id: BOOTSTRAP_ID,
  keyScope: BOOTSTRAP_ID,
  actor: "admin",
  identities: ["admin"],
  madeBy: [],
  role: "admin",
  app: null,
  environment: null,
  action: null,
  hostId: null,
};

function toPrincipal(row: TokenRow): Principal {
  const actor = `${row.role === "agent" ? "agent" : row.trustId === null ? "token" : "ci"}:${row.name}`;
  const { id, role, app, environment, action, pull, hostId } = row;
  const identities = [actor, `id:${id}`, ...(row.identities ?? [])];
  const keyScope = row.trustId ?? id;
  return {
    id,
    keyScope,
    actor,
    identities,
    madeBy: row.madeBy ?? [],
    role,
    app,
    environment,
    action,
    pull,
    hostId,
  };
}

function isBootstrapAdmin(env: ControlEnv, hash: string): boolean {
  const wanted = new TextEncoder().encode((env.ADMIN_TOKEN_SHA256 ?? "").toLowerCase());
  const given = new TextEncoder().encode(hash);
  return wanted.byteLength === given.byteLength && crypto.subtle.timingSafeEqual(wanted, given);
}

/** Who sent a request: by its Authorization header, else by its browser's session, else by what Access says. */
async function whoAsks(c: AppContext, db: Db, keys: Keys | null): ReturnType<typeof identify> {
  const sent = c.req.header("authorization");
  const at = { env: c.env, db, now: c.var.now(), sent };
  if (sent !== undefined) return identify(at, await tokenHash(sent));
  const session = sessionOf(c);
  const signedIn = session === undefined ? undefined : await tokenOfSession(c, db, session);
  if (signedIn?.ok) return identify(at, signedIn.value);
  const visitor = keys ? await whoFromAccess(c, db, keys) : undefined;
  if (visitor) return visitor.ok ? ok({ principal: visitor.value, row: null }) : visitor;
  return signedIn ?? identify(at, await tokenHash(sent));
}

/** Puts the principal and the database into the context, or refuses. */
export const authenticatePeople =
  (keys: Keys | null): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    // No route takes it: the answer is what an address takes, and a preflight has no token.
    if (c.req.method === "OPTIONS") return next();
    const db = openDb(c.env.DB);
    const now = c.var.now();
    const found = await whoAsks(c, db, keys);
    if (!found.ok) throw new ProblemError(found.error);
    c.set("db", db);
    c.set("principal", found.value.principal);
    const { row } = found.value;
    // Awaited: from its first use on, nothing may pass with the token that this one takes the place of.
    if (row?.replaces != null && row.hostId !== null)
      await takeOver(
        db,
        { tokenHash: row.hash, name: row.name, hostId: row.hostId, replaces: row.replaces },
        now,
      );
    if (row && now - (row.lastUsedAt ?? 0) > TOUCH_MS)
      inBackground(c, "token.touch", touchToken(db, row.id, now));
    await next();
  };

/** Hosts come with their token alone. */
export const authenticate = authenticatePeople(null);

/** Refuses a principal whose role or scope does not reach. The answer names what it has and what it would need. */
export function authorize(c: AppContext, need: Need): Principal {
  const { principal } = c.var;
  if (reaches(principal, need)) return principal;
  const alone = principal.action === null ? "" : `, to ${principal.action} and no more`;
  const has = `${principal.actor} has the role ${principal.role} for ${scope(principal)}${alone}`;
  const detail = `${has}: this needs ${need.role} for ${scope(need)}`;
  const command = tokenCommand(need);
  throw new ProblemError({
    code: "forbidden",
    detail,
    next: [{ command, when: "an administrator allows it" }],
  });
}

/** The agent's own host, or a refusal: people's tokens open nothing here. */
export function authorizeAgent(c: AppContext): { hostId: string; actor: string } {
  const { hostId, actor, role } = c.var.principal;
  if (role === "agent" && hostId !== null) return { hostId, actor };
  const detail = `${actor} has the role ${role}: this needs the token that a host got when it was enrolled`;
  throw new ProblemError({ code: "forbidden", detail });
}

/**
 * Does a host's work in the trip that looks at its token. Where that found nothing to do, the host is identified, or told
 * why it is none, and it is done again under its id.
 */
export async function asHost<T>(
  c: AppContext,
  work: (db: Db, hostId: string | SQL) => Promise<T | undefined>,
): Promise<T | undefined> {
  const hash = await tokenHash(c.req.header("authorization"));
  const db = openDb(c.env.DB);
  const done = hash === undefined ? undefined : await work(db, hostByToken(hash, c.var.now()));
  if (done !== undefined) return done;
  await authenticate(c, async () => {});
  return work(db, authorizeAgent(c).hostId);
}

/** As an administrator would type it; the name is theirs to change. */
const tokenCommand = ({ role, app, environment }: Need): string => {
  const of = [app === null ? "" : ` --app ${app}`, environment === null ? "" : ` --env ${environment}`];
  return `sluice token create ci --role ${role}${of.join("")}`;
};

const scope = (of: { app: string | null; environment: string | null }) =>
  of.app === null ? "everything" : of.environment === null ? of.app : `${of.app}/${of.environment}`;
