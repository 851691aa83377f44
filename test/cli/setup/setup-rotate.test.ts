import { expect, onTestFinished, test } from "vitest";
import { sha256 } from "../../../cli/setup/secrets.ts";
import { changes, deployedControl, newDesk } from "../../support/cli/setup-desk.ts";
import { type Cloudflare, startCloudflare } from "../../support/cloudflare/server.ts";

/** Secrets are replaced on order only, and a rotation that is cut short loses no key. */

async function installed(fetch?: (cloudflare: Cloudflare) => typeof globalThis.fetch) {
  const cloudflare = await startCloudflare({ scripts: [], isMigrated: true });
  onTestFinished(() => cloudflare.close());
  const desk = newDesk({ cloudflare, ...(fetch ? { fetch: fetch(cloudflare) } : {}) });
  const made = await desk.setup();
  return { cloudflare, desk, token: made.stdout.trim() };
}

const secret = ({ state }: Cloudflare, worker: string, name: string) =>
  state.workers.get(worker)?.bindings.find((one) => one.name === name)?.text;

/** A control with secrets to seal anew, a few at a time. */
function sealing(cloudflare: Cloudflare, left = { now: 5 }): typeof globalThis.fetch {
  const control = deployedControl(cloudflare);
  return async (input, init) => {
    if (!String(input).endsWith("/api/v1/secrets/reseal")) return control(input, init);
    const keyId = String(secret(cloudflare, "sluice-control", "SECRETS_KEY")).split(":")[0];
    const isRotating = secret(cloudflare, "sluice-control", "SECRETS_KEY_BEFORE") !== undefined;
    const resealed = isRotating ? Math.min(2, left.now) : 0;
    left.now -= resealed;
    return Response.json({
      keyId,
      beforeKeyId: null,
      resealed,
      left: isRotating ? left.now : 0,
      unreadable: [],
    });
  };
}

test("gives a new admin token, and the command line has it", async () => {
  const { cloudflare, desk, token } = await installed();
  const done = await desk.setup({ rotate: "admin-token" });
  const next = done.stdout.trim();
  expect(next).toMatch(/^slu_[\w-]{43}$/);
  expect(next).not.toBe(token);
  expect(secret(cloudflare, "sluice-control", "ADMIN_TOKEN_SHA256")).toBe(sha256(next));
  expect(JSON.parse(desk.read("cli.json")).token).toBe(next);
});

test("gives both Workers the same new shield key", async () => {
  const { cloudflare, desk } = await installed();
  const before = secret(cloudflare, "sluice-edge", "SHIELD_KEY");
  await desk.setup({ rotate: "shield-key" });
  expect(secret(cloudflare, "sluice-edge", "SHIELD_KEY")).not.toBe(before);
  expect(secret(cloudflare, "sluice-control", "SHIELD_KEY")).toBe(
    secret(cloudflare, "sluice-edge", "SHIELD_KEY"),
  );
});

test("seals every secret anew before the old key goes", async () => {
  const { cloudflare, desk } = await installed(sealing);
  const before = desk.read("sluice/secrets-key");
  const from = cloudflare.log.length;
  const done = await desk.setup({ rotate: "secrets-key" });
  expect(done).toMatchObject({ exit: 0, said: expect.stringContaining("5 sealed anew") });
  const after = desk.read("sluice/secrets-key");
  expect(after).not.toBe(before);
  expect(secret(cloudflare, "sluice-control", "SECRETS_KEY")).toBe(after);
  expect(secret(cloudflare, "sluice-control", "SECRETS_KEY_BEFORE")).toBeUndefined();
  const puts = changes(cloudflare.log.slice(from)).map(
    ({ body }) => (body as { secrets: Record<string, { text: string } | null> }).secrets,
  );
  expect(puts.map((one) => [one.SECRETS_KEY?.text, one.SECRETS_KEY_BEFORE?.text])).toEqual([
    [after, before],
    [undefined, undefined],
  ]);
});

test.each([
  ["the keys are put", 0, false],
  ["the keys were put, and no answer came", 0, true],
  ["the old key is removed", 1, false],
])("ends a rotation that was cut short when %s", async (_when, skip, afterWork) => {
  const { cloudflare, desk } = await installed(sealing);
  cloudflare.fail({ method: "PATCH", path: "secrets-bulk", answer: 400, skip, afterWork });
  expect((await desk.setup({ rotate: "secrets-key" })).exit).not.toBe(0);
  expect((await desk.setup({ rotate: "secrets-key" })).exit).toBe(0);
  expect(secret(cloudflare, "sluice-control", "SECRETS_KEY")).toBe(desk.read("sluice/secrets-key"));
  expect(secret(cloudflare, "sluice-control", "SECRETS_KEY_BEFORE")).toBeUndefined();
});

test("does not rotate a key that it has no copy of", async () => {
  const { cloudflare, token } = await installed(sealing);
  const elsewhere = newDesk({ cloudflare, fetch: sealing(cloudflare) });
  const login = { SLUICE_URL: "https://sluice.example.com", SLUICE_TOKEN: token };
  const from = cloudflare.log.length;
  const refused = await elsewhere.setup({ rotate: "secrets-key" }, login);
  expect(refused).toMatchObject({ code: "not_configured", said: expect.stringContaining("no copy of it") });
  const stale = await elsewhere.setup(
    { rotate: "secrets-key" },
    { ...login, SECRETS_KEY: `kold:${"A".repeat(43)}=` },
  );
  expect(stale.code).toBe("not_configured");
  expect(changes(cloudflare.log.slice(from))).toEqual([]);
});

test("takes a kept key up again, so that the secrets in D1 still open", async () => {
  const { cloudflare, desk } = await installed();
  const kept = desk.read("sluice/secrets-key");
  await desk.teardown({ name: "sluice", yes: true });
  const again = newDesk({ cloudflare });
  await again.setup({}, { SECRETS_KEY: kept });
  expect(secret(cloudflare, "sluice-control", "SECRETS_KEY")).toBe(kept);
  expect(
    await newDesk({ cloudflare }).setup(
      { name: "b", controlHostname: "b.example.com" },
      { SECRETS_KEY: "nonsense" },
    ),
  ).toMatchObject({ code: "usage" });
});

test("has nothing to rotate where nothing is", async () => {
  const cloudflare = await startCloudflare({ scripts: [], isMigrated: true });
  onTestFinished(() => cloudflare.close());
  expect(await newDesk({ cloudflare }).setup({ rotate: "admin-token" })).toMatchObject({ code: "not_found" });
});
