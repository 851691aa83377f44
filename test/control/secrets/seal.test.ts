import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Keyring,
  open,
  readKeyring,
  type SealedPlace,
  seal,
} from "../../../src/control/secrets/seal.ts";

/** Bytes 0 to 31, under which the vectors were sealed by OpenSSL. */
const K1 = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const K2 = `k2:${btoa("2".repeat(32))}`;
const PLACE: SealedPlace = { purpose: "secret", owner: "env_1", name: "DATABASE_URL" };

async function keys(SECRETS_KEY: string, SECRETS_KEY_BEFORE?: string): Promise<Keyring> {
  const read = await readKeyring({ SECRETS_KEY, ...(SECRETS_KEY_BEFORE ? { SECRETS_KEY_BEFORE } : {}) });
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

const why = async (...args: Parameters<typeof open>) => {
  const opened = await open(...args);
  return opened.ok ? `opened: ${opened.value}` : opened.error;
};

describe("a sealed value", () => {
  it.each([
    [
      PLACE,
      "1.AAECAwQFBgcICQoL.N22lb6KXp2i3brj42YYIV-uj6UCVCW08XAXK9nUGcN9S_sPpQ14moCuA0XjmA_A",
      "postgres://shop:hunter2@db/shop",
    ],
    [
      { purpose: "registry", owner: "app_1", name: "ghcr.io" } as const,
      "1.AAECAwQFBgcICQoL.N8FyaLaSAa3_Jbd7Ln3pf3hj4Tw6nrNPQQZ9dp0YpA",
      "pässwörd 🔑",
    ],
  ])("that another implementation sealed opens: %o", async (place, sealed, text) => {
    expect(await open(await keys(K1), place, { sealed, keyId: "k1" })).toEqual({ ok: true, value: text });
  });

  it("comes back as it was, whatever it is, and never looks the same twice", async () => {
    const keyring = await keys(K1);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 300 }), async (text) => {
        const [first, second] = [await seal(keyring, PLACE, text), await seal(keyring, PLACE, text)];
        expect(first.sealed).not.toBe(second.sealed);
        expect(await open(keyring, PLACE, first)).toEqual({ ok: true, value: text });
        expect(await open(keyring, PLACE, second)).toEqual({ ok: true, value: text });
      }),
      { numRuns: 100 },
    );
  });

  it("opens nowhere but where it belongs", async () => {
    const keyring = await keys(K1);
    const place = fc.record({
      purpose: fc.constantFrom<SealedPlace["purpose"]>("secret", "registry"),
      owner: fc.constantFrom("env_1", "env_2", "app_1", 'env_1","X'),
      name: fc.constantFrom("A", "B", "ghcr.io", '","'),
    });
    await fc.assert(
      fc.asyncProperty(place, place, async (here, there) => {
        const sealed = await seal(keyring, here, "value");
        const same = JSON.stringify(here) === JSON.stringify(there);
        expect((await open(keyring, there, sealed)).ok).toBe(same);
      }),
      { numRuns: 200 },
    );
  });

  it("with one character changed does not open, and says so without a crash", async () => {
    const keyring = await keys(K1);
    const { sealed, keyId } = await seal(keyring, PLACE, "postgres://shop:hunter2@db/shop");
    await fc.assert(
      fc.asyncProperty(
        fc.nat(sealed.length - 1),
        fc.constantFrom("", "A", "z", ".", "!", "é"),
        async (at, put) => {
          const changed = sealed.slice(0, at) + put + sealed.slice(at + 1);
          // The last character of base64 has bits that mean nothing.
          if (changed === sealed || at === sealed.length - 1 || at === sealed.indexOf(".", 2) - 1) return;
          const said = await why(keyring, PLACE, { sealed: changed, keyId });
          expect(said).toMatch(/does not open it|form/);
          expect(said).not.toContain("hunter2");
        },
      ),
      { numRuns: 200 },
    );
  });

  it("of an earlier form of nothing, or of a form to come, is refused in words", async () => {
    const keyring = await keys(K1);
    expect(await why(keyring, PLACE, { sealed: "", keyId: "k1" })).toContain("form ``");
    expect(await why(keyring, PLACE, { sealed: "2.AAAA.AAAA", keyId: "k1" })).toContain("form `2`");
  });
});

describe("keys", () => {
  it("a value of the key before still opens, and what is sealed is sealed with the present one", async () => {
    const old = await seal(await keys(K1), PLACE, "value");
    const rotated = await keys(K2, K1);
    expect(await open(rotated, PLACE, old)).toEqual({ ok: true, value: "value" });
    expect((await seal(rotated, PLACE, "value")).keyId).toBe("k2");
  });

  it("one that is not there is named, with those that are", async () => {
    const old = await seal(await keys(K1), PLACE, "value");
    expect(await why(await keys(K2), PLACE, old)).toContain("under the key `k1`, and control has `k2`");
  });

  it("another key under the same id opens nothing", async () => {
    const sealed = await seal(await keys(K1), PLACE, "value");
    const other = await keys(K2.replace("k2:", "k1:"));
    expect(await why(other, PLACE, sealed)).toContain("another key has that id");
  });

  it.each([
    "k1",
    "k1:",
    "k1:c2hvcnQ=",
    `k1:${"A".repeat(44)}`,
    `:${btoa("2".repeat(32))}`,
    `k 1:${btoa("2".repeat(32))}`,
  ])("that are none are refused without being repeated: %s", async (SECRETS_KEY) => {
    const read = await readKeyring({ SECRETS_KEY });
    expect(read).toMatchObject({ ok: false, error: expect.stringContaining("SECRETS_KEY is no key") });
    expect(JSON.stringify(read)).not.toContain("MjIy");
  });

  it("without one, control says how to get one", async () => {
    expect(await readKeyring({})).toMatchObject({
      ok: false,
      error: expect.stringContaining("sluice setup"),
    });
  });

  it("two that differ under one id are refused; twice the same is half-way through a rotation", async () => {
    const both = await readKeyring({ SECRETS_KEY: K1, SECRETS_KEY_BEFORE: K2.replace("k2:", "k1:") });
    expect(both).toMatchObject({ ok: false, error: expect.stringContaining("both named `k1`") });
    expect((await keys(K1, `${K1}\n`)).before).toBeNull();
  });
});
