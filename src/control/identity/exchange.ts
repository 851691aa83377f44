import { decodeJwt } from "jose";
import { err, ok, type Result } from "../../domain/result.ts";
import { stringOf } from "../../domain/trust/claims.ts";
import { pullRequestOf } from "../../domain/trust/pull-request.ts";
import { type Claims, isProjectsOwn, mismatchesOf, PRESETS, pinned } from "../../domain/trust/trust.ts";
import type { Explained } from "../../protocol/api/trusts.ts";
import { newId, newSecret, sha256 } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { type Db, isLostRace, runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import {
  listTrusts,
  noteTraded,
  pinTrust,
  type TrustRow,
  trustsOf,
  wasTraded,
} from "../store/identity/trusts.ts";
import { insertToken } from "../store/tokens.ts";
import { type Check, type Failed, issuerOf, type Verified, verify } from "./verify.ts";

/** A job's next request comes within seconds; one that runs on has its token prolonged. */
export const TOKEN_MS = 15 * 60_000;
/** GitHub's own limit for a job. */
export const MOST_TOKEN_MS = 6 * 3_600_000;

export interface Wanted {
  readonly app: string | null;
  readonly environment: string | null;
}
export interface Exchanged {
  readonly trust: TrustRow;
  readonly token: string;
  readonly expiresAt: number;
}

const refused = (detail: string): Refusal => ({
  code: "oidc_refused",
  detail: `the CI system's token opens nothing here: ${detail}`,
  next: [
    {
      command: "sluice trust explain -",
      when: "an administrator has the token: it compares it with every trust",
    },
  ],
});

const refusedFor = ({ isToken, detail }: Failed): Refusal =>
  isToken ? refused(detail) : { code: "unavailable", detail, retryAfterS: 5 };

/** Trades a CI system's token for one of control's, once: short-lived, and for what the trust is for alone. */
export async function exchange(
  db: Db,
  input: { token: string; wanted: Wanted },
  check: Check,
): Promise<Result<Exchanged, Refusal>> {
  const issuer = issuerOf(input.token);
  if (!issuer.ok) return err(refused(issuer.error));
  // Before anything is fetched: control asks nobody whom it doesn't trust.
  const rows = await trustsOf(db, issuer.value);
  if (rows.length === 0) return err(refused(`no trust names its issuer, ${issuer.value}`));
  const verified = await verify(input.token, issuer.value, check);
  if (!verified.ok) return err(refusedFor(verified.error));
  const trust = choose(rows, verified.value.claims, input.wanted);
  if (!trust.ok) return err(refused(trust.error));
  return give(db, trust.value, verified.value, check.now);
}

/** The trust that a token fits: of several the one for exactly what is wanted. */
function choose(rows: readonly TrustRow[], claims: Claims, wanted: Wanted): Result<TrustRow, string> {
  const fitting = rows.filter((row) => mismatchesOf(row, claims).length === 0);
  if (fitting.length === 0) return err(whyNone(rows, claims));
  const { app, environment } = wanted;
  const reaching = fitting.filter(
    (row) =>
      (app === null || row.app === app) &&
      (environment === null || row.environment === null || row.environment === environment),
  );
  const exact = reaching.filter((row) => environment !== null && row.environment === environment);
  const [only, another] = exact.length > 0 ? exact : reaching;
  if (only && (!another || (another.app === only.app && another.environment === only.environment)))
    return ok(only);
  const places = fitting.map(placeOf).join(", ");
  return err(
    only
      ? `it fits trusts for ${places}: say which app and environment it is wanted for`
      : `it fits no trust for ${placeOf({ app: app ?? "that", environment })}, only for ${places}`,
  );
}

/** Whoever holds a project's own token may know what else is wrong with it; what others' trusts want is not said. */
function whyNone(rows: readonly TrustRow[], claims: Claims): string {
  const own = rows.filter((row) => isProjectsOwn(row, claims));
  if (own.length === 0) return `no trust is for ${projectOf(rows, claims)}`;
  const said = own.map((row) => {
    const wrong = mismatchesOf(row, claims).map(
      ({ claim, wanted, got }) =>
        `\`${claim}\` is ${got === null ? "missing" : `\`${clip(got)}\``}, wanted is ${wanted}`,
    );
    return `for ${placeOf(row)} ${wrong.join(", and ")}`;
  });
  return said.slice(0, 3).join("; ");
}

function projectOf([row]: readonly TrustRow[], claims: Claims): string {
  if (!row) return "it";
  const { ids, name } = PRESETS[row.provider];
  const named = name.map((claim) => clip(stringOf(claims[claim]) ?? "?")).join("/");
  return [
    named,
    `(${ids.map((claim) => `${claim} ${clip(stringOf(claims[claim]) ?? "missing")}`).join(", ")})`,
  ]
    .filter(Boolean)
    .join(" ");
}

async function give(
  db: Db,
  trust: TrustRow,
  { claims, key, expiresAt: tokenExpiresAt }: Verified,
  now: number,
): Promise<Result<Exchanged, Refusal>> {
  const { role, action, app, environment } = trust;
  const token = newSecret("slu");
  const expiresAt = now + TOKEN_MS;
  const run = PRESETS[trust.provider].run(claims);
  const name = nameOf(trust, claims);
  const about = { at: now, actor: `ci:${name}`, app, environment };
  const isFirst = trust.pinOnFirstUse.length > 0;
  const after = isFirst ? pinned(trust, claims) : trust.pins;
  const id = newId("tok", now);
  const identities = personIn(trust.provider, claims);
  const who = { id, name, hash: await sha256(token), identities };
  const pull = action === "preview" ? pullRequestOf(claims) : null;
  if (action === "preview" && pull === null)
    return err(refused("it doesn't say which pull request it is of"));
  const row = { ...who, role, action, pull, app, environment, trustId: trust.id };
  try {
    await runBatch(db, [
      noteTraded(db, { key, expiresAt: tokenExpiresAt }),
      insertToken(db, { ...row, createdAt: now, expiresAt }),
      ...(isFirst
        ? [
            pinTrust(db, trust.id, after),
            insertEvent(db, {
              ...about,
              type: "trust.pinned",
              message: `${trust.project}: pinned to ${pinsOf(trust, after)} by its first token`,
              data: { trust: trust.id, before: trust.pins, after },
            }),
          ]
        : []),
      insertEvent(db, {
        ...about,
        type: "token.traded",
        message: `${name} got a token for ${placeOf(trust)}${run === null ? "" : `: ${run}`}`,
        data: { trust: trust.id, token: id, run, claims: told(claims) },
      }),
    ]);
  } catch (error) {
    if (!isLostRace(error)) throw error;
    return err(
      refused(
        (await wasTraded(db, key))
          ? "it was used already, and counts once (`jti`): ask the CI system for another one"
          : "another token pinned the project's ids a moment ago: try again",
      ),
    );
  }
  return ok({ trust, token, expiresAt });
}

/** Who pressed the button, by ids that stay theirs: where the issuer says it. */
function personIn(provider: TrustRow["provider"], claims: Claims): string[] {
  const id = stringOf(claims.actor_id ?? claims.user_id);
  const email = stringOf(claims.user_email);
  return [
    ...(id === null ? [] : [`${provider}:${clip(id)}`]),
    ...(email === null ? [] : [`person:${clip(email.toLowerCase())}`]),
  ];
}

const pinsOf = ({ pinOnFirstUse }: TrustRow, after: TrustRow["pins"]) =>
  pinOnFirstUse.map((claim) => `${claim} ${after[claim]?.join()}`).join(", ");

/** As the audit log names a job: the project, and its run where the token has one. */
function nameOf({ provider, project }: TrustRow, claims: Claims): string {
  const run = stringOf(claims.run_id ?? claims.pipeline_id ?? claims.build_number);
  return clip(`${provider}:${project}${run !== null && /^[\w-]{1,64}$/.test(run) ? `#${run}` : ""}`);
}

/** What tells a job: short claims that are text. */
function told(claims: Claims): Record<string, string> {
  const texts = Object.entries(claims).flatMap(([claim, value]) => {
    const text = stringOf(value);
    return text === null || claim.length > 60 ? [] : [[claim, text.slice(0, 300)] as const];
  });
  return Object.fromEntries(texts.slice(0, 60));
}

/** What a token says of itself and where it differs from each trust of its issuer. Gives nothing, and uses nothing up. */
export async function explain(db: Db, token: string, check: Check): Promise<Explained> {
  const issuer = issuerOf(token);
  if (!issuer.ok) return { problem: issuer.error, issuer: null, claims: {}, trusts: [] };
  const rows = await trustsOf(db, issuer.value);
  const claims = decodeJwt(token);
  const about = { issuer: issuer.value, claims: told(claims) };
  if (rows.length === 0) {
    const known = [...new Set((await listTrusts(db)).map((row) => row.issuer))].join(", ");
    return { ...about, problem: `no trust names its issuer; trusted are ${known || "none"}`, trusts: [] };
  }
  const verified = await verify(token, issuer.value, check);
  const isUsed = verified.ok && (await wasTraded(db, verified.value.key));
  const used = isUsed ? "it was used already, and counts once (`jti`)" : null;
  const trusts = rows.map((row) => ({ ...shown(row), mismatches: mismatchesOf(row, claims) }));
  return {
    ...about,
    problem: verified.ok ? used : verified.error.detail,
    trusts: trusts.toSorted((a, b) => a.mismatches.length - b.mismatches.length).slice(0, 20),
  };
}

const shown = ({ id, project, app, environment }: TrustRow) => ({ id, project, app, environment });
const placeOf = ({ app, environment }: { app: string; environment: string | null }) =>
  environment === null ? app : `${app}/${environment}`;
const clip = (text: string) => text.slice(0, 200);
