import { expect } from "vitest";
import { type ManifestError, parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { toSpec } from "../../src/protocol/manifest/spec.ts";

export const MINIMAL = `app: shop
image: ghcr.io/acme/shop
port: 3000
environments:
  production:
    hostnames: [shop.example.com]
`;
/** The smallest manifest with lines put before it or under its environment. */
export const withTop = (lines: string) => `${MINIMAL}${lines}\n`;
export const withEnv = (lines: string) => `${MINIMAL}${lines.replace(/^/gm, "    ")}\n`;

export function errorsOf(text: string): readonly ManifestError[] {
  const parsed = parseManifest(text);
  return parsed.ok ? [] : parsed.errors;
}
export const onlyError = (text: string): ManifestError => {
  const errors = errorsOf(text);
  expect(errors, JSON.stringify(errors)).toHaveLength(1);
  return errors[0] ?? expect.fail();
};
export function specOf(text: string, environment = "production") {
  const parsed = parseManifest(text);
  if (!parsed.ok) return expect.fail(JSON.stringify(parsed.errors));
  return toSpec(parsed.manifest, environment) ?? expect.fail(`no environment ${environment}`);
}
