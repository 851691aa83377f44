import { createRoute, z } from "@hono/zod-openapi";
import { previewSecretsOf } from "../../domain/previews/preview.ts";
import {
  resealAnswerSchema,
  secretNameSchema,
  secretSchema,
  setSecretAnswerSchema,
  setSecretSchema,
} from "../../protocol/api/secrets.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { requireEnvironment } from "../http/require.ts";
import { body, environmentParams, json, newRouter } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { reseal } from "../secrets/reseal.ts";
import { type Keyring, open, readKeyring, seal } from "../secrets/seal.ts";
import { requireKeyring, secretViews } from "../secrets/secrets.ts";
import { runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import {
  countPastSecrets,
  deleteSecret,
  dropPastSecrets,
  keepPastSecret,
  listSecrets,
  putSecret,
  readSecret,
} from "../store/secrets.ts";
import type { EnvironmentStatus } from "../store/status.ts";

/** So that an environment's secrets can be listed, and opened for a job, in one go. */
const MAX_SECRETS = 200;
const tags = ["secrets"];
const secretParams = environmentParams.extend({ name: secretNameSchema });
const previewsQuery = z.object({
  previews: z
    .enum(["0", "1"])
    .optional()
    .describe("1: those of the environment's previews, which are apart from its own"),
});

const list = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}/secrets",
  summary: "An environment's secrets, never their values",
  description: "Those that are set, and those that the manifest names and that have no value yet.",
  tags,
  request: { params: environmentParams, query: previewsQuery },
  responses: { 200: json(z.object({ items: z.array(secretSchema) }), "All of them, by name") },
});

const set = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/secrets/{name}",
  summary: "Give a secret a value",
  description:
    "Sealed before it is written, and opened only for the agent that starts something with it. The same value again changes nothing.",
  tags,
  request: { params: secretParams, query: previewsQuery, body: body(setSecretSchema) },
  responses: { 200: json(setSecretAnswerSchema, "The secret as it is now, without its value") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/envs/{env}/secrets/{name}",
  summary: "Remove a secret",
  description: "What runs keeps it. A release whose manifest names it is refused from now on.",
  tags,
  request: { params: secretParams, query: previewsQuery },
  responses: { 204: { description: "It is not there (any more)" } },
});

const resealAll = createRoute({
  method: "post",
  path: "/api/v1/secrets/reseal",
  summary: "Seal what lies under the key before with the present one",
  description: "A bounded number for each call; the sweep of each minute does the same.",
  tags,
  responses: { 200: json(resealAnswerSchema, "How far it is, and what no key opens") },
});

/** Values that an environment's apps get as variables. */
export const secretRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      const { app, env } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: env });
      const status = shelfOf(await requireEnvironment(c, app, env), c.req.valid("query"));
      const keyring = await readKeyring(c.env);
      return c.json({ items: await viewsOf(c, status, keyring.ok ? keyring.value : undefined) }, 200);
    })
    .openapi(set, async (c) => {
      const { app, env, name } = c.req.valid("param");
      const { actor } = authorize(c, { role: "deployer", app, environment: env });
      const status = shelfOf(await requireEnvironment(c, app, env), c.req.valid("query"));
      const keyring = await requireKeyring(c.env);
      const { value, revokeOld } = c.req.valid("json");
      // No release notes the versions of what previews share, so that older ones would never go.
      const revoke = revokeOld || status.previews !== "";
      const changed = await setSecret(c, status, { name, value, revoke, actor, keyring });
      const secret = (await viewsOf(c, status, keyring)).find((one) => one.name === name);
      if (!secret) throw new ProblemError({ code: "conflict", detail: `${name} was removed meanwhile` });
      return c.json({ secret, changed }, 200);
    })
    .openapi(remove, async (c) => {
      const { app, env, name } = c.req.valid("param");
      const { actor } = authorize(c, { role: "deployer", app, environment: env });
      const { environment, previews } = shelfOf(await requireEnvironment(c, app, env), c.req.valid("query"));
      const { db } = c.var;
      if (await readSecret(db, environment.id, name)) {
        const event = { at: c.var.now(), type: "secret.removed", actor, app, environment: env };
        const message = `secret ${name}${previews} removed`;
        await runBatch(db, [
          dropPastSecrets(db, environment.id, name),
          deleteSecret(db, environment.id, name),
          insertEvent(db, { ...event, environmentId: environment.id, message, data: { secret: name } }),
        ]);
      }
      return c.body(null, 204);
    })
    .openapi(resealAll, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const answer = await reseal(c.var.db, await requireKeyring(c.env));
      if (answer.resealed > 0) {
        const { resealed, keyId } = answer;
        const message = `${resealed} sealed anew under the key ${keyId}`;
        const event = { at: c.var.now(), type: "secret.resealed", actor, message, data: { resealed, keyId } };
        await runBatch(c.var.db, [insertEvent(c.var.db, event)]);
      }
      return c.json(answer, 200);
    });

/** Whose secrets are meant: an environment's own, or what its previews share. */
interface Shelf {
  readonly app: string;
  readonly environment: Pick<EnvironmentStatus["environment"], "id" | "name" | "spec">;
  /** As words add it. */
  readonly previews: string;
}

function shelfOf(
  { app, environment }: EnvironmentStatus,
  { previews }: { previews?: "0" | "1" | undefined },
): Shelf {
  if (previews !== "1") return { app, environment, previews: "" };
  const { id, name, spec } = environment;
  if (!spec.previews)
    throw new ProblemError({
      code: "conflict",
      detail: `${app}/${name} has no \`previews\` in its manifest`,
    });
  const { secrets } = spec.previews;
  const used = { ...spec, secrets, accessories: {} };
  return { app, environment: { id: previewSecretsOf(id), name, spec: used }, previews: " of previews" };
}

const viewsOf = async (c: AppContext, { environment }: Shelf, keyring: Keyring | undefined) =>
  secretViews(environment.spec, await listSecrets(c.var.db, [environment.id]), keyring);

interface NewValue {
  readonly name: string;
  readonly value: string;
  /** Nobody is to get the values before any more. */
  readonly revoke: boolean;
  readonly actor: string;
  readonly keyring: Keyring;
}

/** False: it had this value, so that a pipeline which sets all of them each time makes no instance look old. */
async function setSecret(c: AppContext, status: Shelf, of: NewValue): Promise<boolean> {
  const { db } = c.var;
  const { name, value, revoke, actor, keyring } = of;
  const { id: environmentId } = status.environment;
  const place = { purpose: "secret", owner: environmentId, name } as const;
  const row = await readSecret(db, environmentId, name);
  const before = row && (await open(keyring, place, row));
  const past = revoke ? await countPastSecrets(db, environmentId, name) : 0;
  const told = (message: string, data: object) =>
    insertEvent(db, {
      at: c.var.now(),
      type: "secret.set",
      actor,
      app: status.app,
      environment: status.environment.name,
      environmentId,
      message,
      data: { secret: name, ...data },
    });
  if (before?.ok && before.value === value && row?.keyId === keyring.current.id) {
    const message = `older values of secret ${name}${status.previews} revoked`;
    if (past > 0)
      await runBatch(db, [dropPastSecrets(db, environmentId, name), told(message, { revoked: past })]);
    return false;
  }
  if (!row) await refuseTooMany(c, environmentId);
  const sealed = await seal(keyring, place, value);
  const change = row ? "changed" : "set";
  const revoked = revoke && row ? ", its older values revoked" : "";
  await runBatch(db, [
    revoke ? dropPastSecrets(db, environmentId, name) : keepPastSecret(db, environmentId, name),
    putSecret(db, { environmentId, name, ...sealed, updatedAt: c.var.now(), updatedBy: actor }),
    told(`secret ${name}${status.previews} ${change}${revoked}`, { before: row?.version ?? null }),
  ]);
  return true;
}

async function refuseTooMany(c: AppContext, environmentId: string): Promise<void> {
  const rows = await listSecrets(c.var.db, [environmentId]);
  if (rows.length < MAX_SECRETS) return;
  const detail = `the environment has ${rows.length} secrets, and no more than ${MAX_SECRETS} fit: remove those that nobody uses`;
  throw new ProblemError({
    code: "conflict",
    detail,
    next: [{ command: "sluice secrets list", when: "to see which those are" }],
  });
}
