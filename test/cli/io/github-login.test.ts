import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { expect, it } from "vitest";
import { githubLogin } from "../../../cli/io/github-login.ts";

const APP = { GITHUB_APP_ID: "4711", GITHUB_APP_INSTALLATION_ID: "77" };
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
/** As GitHub hands it out. */
const pem = privateKey.export({ type: "pkcs1", format: "pem" }).toString();

it.each([pem, pem.replaceAll("\n", "\\n")])(
  "takes an app's key as GitHub hands it out, and as variables hold it",
  (held) => {
    const login = githubLogin({ ...APP, GITHUB_APP_PRIVATE_KEY: held, GITHUB_TOKEN: "of the job" });
    expect(login).toMatchObject({ app: { id: "4711", installation: 77 } });
    const key = login.app?.privateKey ?? "";
    expect(key).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(createPrivateKey(key).equals(privateKey)).toBe(true);
  },
);

it.each([
  [{}, "set GITHUB_TOKEN, or"],
  [{ ...APP, GITHUB_APP_PRIVATE_KEY: "app.private-key.pem" }, "give the file's whole text"],
])("says what is missing: %o", (env, words) => {
  expect(() => githubLogin(env)).toThrow(words);
});
