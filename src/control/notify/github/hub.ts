import { importPKCS8, SignJWT } from "jose";
import { z } from "zod";
import { err, ok, type Result } from "../../../domain/result.ts";
import { parseJson } from "../../../protocol/json.ts";
import { readBody, textOf } from "../../../streams/bounded-body.ts";
import { BoundedMap } from "../../bounded-map.ts";
import type { ControlEnv } from "../../env.ts";
import { targetProblem } from "../address.ts";
import type { GitHubKeys } from "../keys.ts";
import { failed, type Sent } from "../send-webhook.ts";
import { refusalSent } from "./refusal.ts";
import { GITHUB_API } from "./repository.ts";

const WITHIN_MS = 15_000;
/** A page of Deployments, each with a payload of anybody's. */
const MOST_BYTES = 4_000_000;
/** Of the REST API that these calls were written for (https://docs.github.com/rest/about-the-rest-api/api-versions). */
const VERSION = "2022-11-28";

/** GitHub, as one target may speak to it. */
export interface Hub {
  readonly api: string;
  /** `owner/name`. */
  readonly repository: string;
  readonly authorization: string;
  readonly now: number;
  /** How often the message was tried, this try counted. */
  readonly tries: number;
}

interface At {
  readonly env: ControlEnv;
  readonly now: number;
  readonly tries: number;
}

/** Tokens of installations, by their target: each is good for an hour. */
const tokens = new BoundedMap<string, { token: string; until: number }>(100);
const SPARE_MS = 300_000;

/** GitHub with what lets a target in. An address other than GitHub's own is looked at each time, as all targets' are. */
export async function openHub(webhookId: string, keys: GitHubKeys, at: At): Promise<Result<Hub, Sent>> {
  const { api, repository, token, app } = keys;
  const problem = api === GITHUB_API ? undefined : await targetProblem(api, at.env);
  if (problem !== undefined) return err(failed(`not sent: ${problem}`));
  const hub = { api, repository, now: at.now, tries: at.tries };
  if (token !== undefined) return ok({ ...hub, authorization: `Bearer ${token}` });
  const kept = tokens.get(webhookId);
  if (kept && kept.until > at.now + SPARE_MS) return ok({ ...hub, authorization: `Bearer ${kept.token}` });
  const asked = app
    ? await askToken({ ...hub, authorization: `Bearer ${await appToken(app, at.now)}` }, keys)
    : err(failed("it has neither a token nor an app's key"));
  if (!asked.ok) return asked;
  const { token: fresh, expires_at } = asked.value;
  tokens.set(webhookId, { token: fresh, until: Date.parse(expires_at) });
  return ok({ ...hub, authorization: `Bearer ${fresh}` });
}

/** After GitHub took a token no more. Answers whether another one can be asked for. */
export const forgetToken = (webhookId: string): boolean => tokens.delete(webhookId);

/** Good for one repository, and for what is done there alone. */
async function askToken(hub: Hub, { app, deployment, commitStatus, repository }: GitHubKeys) {
  const about = { ...hub, repository: `installation ${app?.installation} of the app` };
  const asked = await ask(about, tokenSchema, `/app/installations/${app?.installation}/access_tokens`, {
    repositories: [repository.split("/")[1]],
    permissions: { ...(deployment && { deployments: "write" }), ...(commitStatus && { statuses: "write" }) },
  });
  // It was not given the repository, or a permission.
  return asked.ok || asked.error.status !== 422 ? asked : err({ ...asked.error, gone: true });
}
const tokenSchema = z.object({
  token: z.string().min(1).max(1_000),
  expires_at: z.iso.datetime({ offset: true }),
});

/**
 * As the app itself, for ten minutes at most, a minute of which is for clocks that differ
 * (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app). Throws with a key that can't sign it.
 */
export async function appToken(
  { id, privateKey }: NonNullable<GitHubKeys["app"]>,
  now: number,
): Promise<string> {
  const seconds = Math.floor(now / 1_000);
  return new SignJWT()
    .setProtectedHeader({ alg: "RS256", typ: "JWT" })
    .setIssuer(id)
    .setIssuedAt(seconds - 60)
    .setExpirationTime(seconds + 540)
    .sign(await importPKCS8(privateKey, "RS256"));
}

/** Asks, or does where there is a body. Never throws: whatever goes wrong is how it went. */
export async function ask<T>(
  hub: Hub,
  schema: z.ZodType<T>,
  path: string,
  body?: object,
): Promise<Result<T, Sent>> {
  try {
    const response = await fetch(`${hub.api}${path}`, {
      ...{ method: body ? "POST" : "GET", redirect: "manual", signal: AbortSignal.timeout(WITHIN_MS) },
      headers: {
        accept: "application/vnd.github+json",
        authorization: hub.authorization,
        "user-agent": "Sluice-GitHub/1",
        "x-github-api-version": VERSION,
        ...(body && { "content-type": "application/json" }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const { status, headers } = response;
    const said = textOf(await readBody(response.body, { bytes: MOST_BYTES, ms: WITHIN_MS }));
    if (!response.ok) return err(refusalSent({ status, headers, said }, hub));
    const read = schema.safeParse(parseJson(said));
    return read.success
      ? ok(read.data)
      : err(failed(`it answered ${status}, and not as GitHub does`, { status }));
  } catch (error) {
    return err(failed(`no answer: ${String(error).slice(0, 200)}`));
  }
}
