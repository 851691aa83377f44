import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import { err, ok, type Result } from "../../domain/result.ts";
import { moment } from "../../domain/times.ts";
import { sha256 } from "../ids.ts";
import type { Keys } from "./keys.ts";

/** Signatures by a key pair alone: with a shared secret, or none, anybody could make one. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
const SKEW_S = 60;
/** Longer than any CI job may take; what was traded is remembered until it has expired. */
const MOST_LIFE_S = 24 * 3_600;

/** What a check needs: nothing of it is read from the token. */
export interface Check {
  readonly audience: string;
  /** Epoch ms. */
  readonly now: number;
  /** Control runs on this machine. */
  readonly isLocal: boolean;
  readonly keys: Keys;
}

export interface Verified {
  readonly claims: JWTPayload;
  /** Stands for this one token among those traded. */
  readonly key: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** Why a token is not believed. */
export interface Failed {
  /** False: the token may be good, and its issuer did not answer. */
  readonly isToken: boolean;
  readonly detail: string;
}
const wrong = (detail: string): Failed => ({ isToken: true, detail });

/** Who says to have issued a token: to be looked up, not to be believed. */
export function issuerOf(token: string): Result<string, string> {
  try {
    const { alg } = decodeProtectedHeader(token);
    if (alg === undefined || !ALGORITHMS.includes(alg))
      return err(
        `it is signed by \`${String(alg).slice(0, 20)}\`, which anybody can make: ${ALGORITHMS.join(", ")} count`,
      );
    const { iss } = decodeJwt(token);
    return typeof iss === "string" && iss.length <= 300 ? ok(iss) : err("it names no issuer (`iss`)");
  } catch {
    return err("it is no JSON Web Token: three parts of base64url with dots between them");
  }
}

/** The claims of a token that its issuer signed for this control plane and this time, or which of these it fails. */
export async function verify(token: string, issuer: string, check: Check): Promise<Result<Verified, Failed>> {
  const { kid } = decodeProtectedHeader(token);
  const { now, isLocal } = check;
  const keys = await check.keys.of(issuer, kid, { now, isLocal });
  if (!keys.ok) return err({ isToken: false, detail: `the keys of ${issuer} can't be read: ${keys.error}` });
  try {
    const { payload } = await jwtVerify(token, keys.value, {
      algorithms: ALGORITHMS,
      issuer,
      audience: check.audience,
      clockTolerance: SKEW_S,
      currentDate: new Date(now),
      requiredClaims: ["exp", "iat"],
    });
    const { exp = 0, iat = 0 } = payload;
    if (iat * 1_000 > now + SKEW_S * 1_000)
      return err(wrong(`\`iat\`: it was issued at ${timeOf(iat)}, and it is ${moment(now)}`));
    if (exp * 1_000 - now > MOST_LIFE_S * 1_000)
      return err(wrong(`\`exp\`: it lives until ${timeOf(exp)}, more than a day`));
    return ok({ claims: payload, key: await keyOf(token, payload), expiresAt: (exp + SKEW_S) * 1_000 });
  } catch (error) {
    return err(wrong(inWords(error, token, check)));
  }
}

/** By its `jti`; without one by what was signed. Not by the signature: of some kinds the same token has several. */
const keyOf = (token: string, { iss, jti }: JWTPayload): Promise<string> =>
  sha256(JSON.stringify([iss, jti ?? token.slice(0, token.lastIndexOf("."))]));

function inWords(error: unknown, token: string, { audience, now }: Check): string {
  if (error instanceof errors.JWTExpired)
    return `\`exp\`: it expired at ${timeOf(error.payload.exp)}, and it is ${moment(now)}`;
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, payload } = error;
    if (claim === "aud") return `\`aud\`: it was made for ${clip(payload.aud)}, not for ${audience}`;
    if (claim === "nbf") return `\`nbf\`: it holds from ${timeOf(payload.nbf)} on, and it is ${moment(now)}`;
    return `\`${claim}\`: ${error.message}`;
  }
  const { kid } = decodeProtectedHeader(token);
  if (error instanceof errors.JWKSNoMatchingKey) return `its issuer has no key \`${clip(kid)}\` (\`kid\`)`;
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return "it names no key (`kid`), and its issuer has several";
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return "its signature is not by its issuer's key";
  return `it can't be read: ${error instanceof Error ? error.message : String(error)}`;
}

const timeOf = (seconds: unknown) =>
  typeof seconds === "number" && Math.abs(seconds) < 8.64e12 ? moment(seconds * 1_000) : "no time at all";
const clip = (value: unknown) => String(value).slice(0, 200);
