import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from "jose";

export type Algorithm = "RS256" | "ES256";

interface Key {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

export const GITHUB = "https://token.actions.githubusercontent.com";

/** Made once by their names, and every issuer's its own: RSA's cost more than what is asked with them. */
const made = new Map<string, Awaited<ReturnType<typeof generateKeyPair>>>();
async function keyPair(name: string, alg: Algorithm) {
  const pair = made.get(name) ?? (await generateKeyPair(alg));
  made.set(name, pair);
  return pair;
}

/** A CI system's issuer with keys of its own, asked over what stands in for the network. */
export class Issuer {
  readonly url: string;
  readonly #keys: Key[] = [];
  /** Each address that was asked for. */
  readonly asked: string[] = [];
  /** What happens to a request instead of an answer. */
  trouble: ((signal: AbortSignal) => Promise<Response>) | null = null;
  /** Overrides of the discovery document. */
  discovery: Record<string, unknown> = {};

  private constructor(url: string) {
    this.url = url;
  }

  static async at(url: string, alg: Algorithm = "RS256"): Promise<Issuer> {
    const issuer = new Issuer(url);
    await issuer.rotate("key-1", alg);
    return issuer;
  }

  /** From now on it signs with a new key, and shows this one alone. */
  async rotate(kid: string, alg: Algorithm = "RS256"): Promise<void> {
    this.#keys.unshift({ kid, alg, ...(await keyPair(`${this.url} ${kid} ${alg}`, alg)) });
  }

  readonly ask = async (url: string, init: RequestInit): Promise<Response> => {
    this.asked.push(url);
    if (this.trouble) return this.trouble(init.signal as AbortSignal);
    if (url === `${this.url}/.well-known/openid-configuration`)
      return Response.json({ issuer: this.url, jwks_uri: `${this.url}/keys`, ...this.discovery });
    if (url === `${this.url}/keys`) return Response.json(await this.#keySet());
    return new Response("nothing here", { status: 404 });
  };

  async #keySet(): Promise<JSONWebKeySet> {
    const [key] = this.#keys;
    if (!key) return { keys: [] };
    return { keys: [{ ...(await exportJWK(key.publicKey)), kid: key.kid, alg: key.alg, use: "sig" }] };
  }

  /** Times in epoch ms; `kid`: says another key than signs. */
  sign(claims: Record<string, unknown>, at: { now: number; kid?: string }): Promise<string> {
    const [key] = this.#keys;
    if (!key) throw new Error("it has no key");
    const seconds = Math.floor(at.now / 1_000);
    const usual = { iss: this.url, jti: crypto.randomUUID(), iat: seconds, nbf: seconds, exp: seconds + 300 };
    return new SignJWT({ ...usual, ...claims })
      .setProtectedHeader({ alg: key.alg, kid: at.kid ?? key.kid, typ: "JWT" })
      .sign(key.privateKey);
  }
}
