import { decodeProtectedHeader, type JWTPayload, jwtVerify } from "jose";
import { err, ok, type Result } from "../../domain/result.ts";
import { stringOf } from "../../domain/trust/claims.ts";
import type { AppContext, Principal } from "../http/context.ts";
import { accessAssertionOf, foreignPage } from "../http/session.ts";
import type { Refusal } from "../refusal.ts";
import type { Db } from "../store/db.ts";
import { allIdentities, type GrantRow, grantsOf, readAccess } from "../store/identity/people.ts";
import { isLocalControl } from "./issuer.ts";
import type { Keys } from "./keys.ts";
import { RANK } from "./roles.ts";

const SKEW_S = 60;
const MOST_GROUPS = 200;

/** Who Cloudflare Access says has come. */
interface Visitor {
  /** `ann@example.com`, or a service token's client id. */
  readonly name: string;
  readonly isService: boolean;
  readonly groups: readonly string[];
}

/**
 * Whom an Access token in a request stands for. Undefined: there is none. Only its signature counts, by the keys of the team
 * that an administrator named, for the application that they named: a header that somebody made up opens nothing.
 */
export async function whoFromAccess(
  c: AppContext,
  db: Db,
  keys: Keys,
): Promise<Result<Principal, Refusal> | undefined> {
  const assertion = accessAssertionOf(c);
  if (assertion === undefined) return undefined;
  const settings = await readAccess(db);
  if (!settings)
    return err(refused("control was told of no Access application: `sluice people access` does"));
  const at = { ...settings, now: c.var.now(), isLocal: isLocalControl(c.req.url) };
  const visitor = await visitorOf(assertion, at, keys);
  if (!visitor.ok) return visitor;
  // The browser sends Access' cookie by itself, also where another site's page made it ask.
  const foreign = visitor.value.isService ? undefined : foreignPage(c.req.raw);
  if (foreign) return err(foreign);
  return principalOf(db, visitor.value);
}

const refused = (detail: string): Refusal => ({
  code: "unauthenticated",
  detail: `the token of Cloudflare Access opens nothing here: ${detail}`,
});

async function visitorOf(
  assertion: string,
  at: { issuer: string; audience: string; now: number; isLocal: boolean },
  keys: Keys,
): Promise<Result<Visitor, Refusal>> {
  const { issuer, audience, now } = at;
  const kid = kidOf(assertion);
  if (kid === undefined) return err(refused("it is no JSON Web Token with a key's id"));
  const found = await keys.of(issuer, kid, { ...at, keysAt: `${issuer}/cdn-cgi/access/certs` });
  if (!found.ok)
    return err({ code: "unavailable", detail: `Access' keys can't be read: ${found.error}`, retryAfterS: 5 });
  try {
    const { payload } = await jwtVerify(assertion, found.value, {
      ...{ algorithms: ["RS256"], issuer, audience, clockTolerance: SKEW_S },
      ...{ currentDate: new Date(now), requiredClaims: ["exp", "iat"] },
    });
    return readVisitor(payload);
  } catch (error) {
    return err(refused(error instanceof Error ? error.message.slice(0, 200) : String(error)));
  }
}

function kidOf(assertion: string): string | undefined {
  try {
    return decodeProtectedHeader(assertion).kid;
  } catch {
    // Whatever it is, no key's id stands in it.
    return undefined;
  }
}

/** https://developers.cloudflare.com/cloudflare-one/identity/authorization-cookie/application-token/ */
function readVisitor(payload: JWTPayload): Result<Visitor, Refusal> {
  const client = stringOf(payload.common_name);
  if (client) return ok({ name: client, isService: true, groups: [] });
  const email = stringOf(payload.email)?.toLowerCase();
  if (!email?.includes("@") || email.length > 200) return err(refused("it names no e-mail address"));
  const custom = payload.custom as { groups?: unknown } | undefined;
  return ok({ name: email, isService: false, groups: textsOf(payload.groups ?? custom?.groups) });
}

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string").slice(0, MOST_GROUPS) : [];

/** Somebody whom control knows by another way than Access: their groups are not known then. */
export const personOf = (db: Db, email: string, way: "slack"): Promise<Result<Principal, Refusal>> =>
  principalOf(db, { name: email, isService: false, groups: [] }, way);

/** Looked up for each request: what was taken away holds from the next one on. */
async function principalOf(
  db: Db,
  visitor: Visitor,
  way: "access" | "slack" = "access",
): Promise<Result<Principal, Refusal>> {
  const grants = (await grantsOf(db, namesOf(visitor))).toSorted(byReach);
  const [widest] = grants;
  const { name, isService } = visitor;
  const actor = `${way}:${name}`;
  if (!widest) {
    const who = isService ? `service:${name}` : name;
    const next = [{ command: `sluice people allow ${who} --role viewer`, when: "an administrator agrees" }];
    return err({
      code: "unauthenticated",
      detail: `${name} is known, and nobody granted them a role`,
      next,
    });
  }
  const { role, app, environment } = widest;
  const own = isService ? [`service:${name}`] : [`person:${name}`];
  const identities = [actor, ...(await allIdentities(db, own))];
  const about = { id: actor, keyScope: actor, actor, identities, madeBy: [], action: null, hostId: null };
  return ok({ ...about, role, app, environment, also: grants.slice(1) });
}

/** All that a grant may call them. */
function namesOf({ name, isService, groups }: Visitor): string[] {
  if (isService) return [`service:${name}`];
  return [name, `*@${name.split("@").at(-1)}`, ...groups.map((group) => `group:${group}`)];
}

/** The widest reach first, since lists show what it reaches; of equal ones the higher role. */
function byReach(a: GrantRow, b: GrantRow): number {
  const width = ({ app, environment }: GrantRow) => (app === null ? 2 : environment === null ? 1 : 0);
  return width(b) - width(a) || RANK[b.role] - RANK[a.role];
}
