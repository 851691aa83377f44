import { createConfig, lintFromString } from "@redocly/openapi-core";
import { beforeAll, expect, test } from "vitest";

/** The API's description as strangers' tools read it. That it names every route is test/control/http/surface.test.ts. */
interface OpenApiDocument {
  readonly paths: Record<
    string,
    Record<string, { operationId?: string; parameters?: unknown[]; requestBody?: unknown }>
  >;
  readonly components: { schemas: Record<string, unknown> };
}
/** By a name that the type checker does not follow: control has a Worker's types, which these tests have not. */
const CONTROL: string = "../../src/control/app.ts";
let text: string;
let document: OpenApiDocument;
beforeAll(async () => {
  const { createApp } = await import(CONTROL);
  text = await (await createApp().request("/api/openapi.json")).text();
  document = JSON.parse(text);
});
const operations = () => Object.values(document.paths).flatMap((methods) => Object.values(methods));

test("lints clean by the recommended rules", async () => {
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lintFromString({ source: text, config });
  const said = problems.map(
    ({ ruleId, message, location }) => `${ruleId} ${location[0]?.pointer}: ${message}`,
  );
  expect(said).toEqual([]);
});

test("has for each operation a name of its own that a generated client can use", () => {
  const names = operations().map((operation) => operation.operationId ?? "");
  expect(names.filter((name) => !/^[a-z]+[A-Z]?[A-Za-z0-9]+$/.test(name))).toEqual([]);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  for (const name of ["getApps", "getApp", "putAppEnvLock", "postAppEnvReleases", "deleteAppPreview"])
    expect(names).toContain(name);
});

test("says of every call that may be repeated with a key that it takes one", () => {
  const posts = Object.entries(document.paths).filter(([path]) => path.startsWith("/api/v1/"));
  const without = posts.filter(
    ([, { post }]) => post && !JSON.stringify(post.parameters ?? []).includes('"idempotency-key"'),
  );
  expect(without.map(([path]) => path)).toEqual(["/api/v1/oidc/exchange"]);
});

test("asks for no field that has a default, as generators understand it", () => {
  const schema = JSON.stringify(document.components.schemas.CreateRelease);
  expect(schema).toContain("By default `");
  const bodies = operations().map(({ requestBody }) => JSON.stringify(requestBody ?? {}));
  for (const text of [schema, ...bodies]) expect(text).not.toContain('"default":');
});
