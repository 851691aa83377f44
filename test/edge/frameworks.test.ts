import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { httpCheck } from "../../agent/instances/http-check.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { expressApp, type Framework, hasDjango, startDjango, strictApp } from "../support/apps/strict-app.ts";
import { ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { tableOf } from "../support/tables.ts";

/** Each framework's own checks, set up as docs/apps.md says, before the agent's probes and behind the edge. */
const FRAMEWORKS: readonly Framework[] = ["laravel", "next", "phoenix", "rails", "spring", "wordpress"];
const apps = new Map<string, Origin>();
let django: { url: string; stop(): Promise<void> } | undefined;
let edge: EdgeStack;

const nameOf = (framework: string) => `${framework}.test`;
const urlOf = (framework: string) => (framework === "django" ? django?.url : apps.get(framework)?.url) ?? "";

beforeAll(async () => {
  for (const name of FRAMEWORKS) apps.set(name, await startOrigin(name, strictApp(name, nameOf(name))));
  apps.set("express", await startOrigin("express", expressApp()));
  if (hasDjango) django = await startDjango(nameOf("django"));
  const table = (hostname: string) => {
    const framework = hostname.split(".").at(-2) ?? "";
    const hostnames = [nameOf(framework), `www.${nameOf(framework)}`];
    const url = urlOf(framework);
    return {
      ...tableOf([url], { hostnames, publicHost: nameOf(framework) }),
      environment: `env_${framework}`,
    };
  };
  edge = await startEdgeStack(
    { table: (hostname) => ({ kind: "table", table: table(hostname) }), meter: () => {} },
    { doors: [...apps.values(), ...(django ? [django] : [])].map(({ url }) => url) },
  );
});
afterAll(async () => {
  await edge?.dispose();
  await django?.stop();
  for (const app of apps.values()) await app.stop();
});

function visit(
  framework: string,
  { path = "/", origin = "", method = "GET", headers = {}, www = false } = {},
) {
  const host = `${www ? "www." : ""}${nameOf(framework)}:${edge.ports[0]}`;
  const sent = { ...headers, ...(origin && { origin: origin === "own" ? `http://${host}` : origin }) };
  return ask({ port: edge.ports[0] ?? 0, path, method, host, headers: sent });
}

describe("an app's own checks", () => {
  it.each([...FRAMEWORKS, ...(hasDjango ? ["django"] : [])])(
    "of %s let the agent's probes in",
    async (name) => {
      expect(await httpCheck(`${urlOf(name)}/ready`, 3_000, { host: nameOf(name) })).toMatchObject({
        ok: true,
      });
      expect((await httpCheck(`${urlOf(name)}/ready`, 3_000, { host: "evil.test" })).ok).toBe(
        name === "next" || name === "phoenix" || name === "spring",
      );
    },
  );

  it.each(["next", "phoenix", "rails"])(
    "of %s take its own pages for its own, and no others",
    async (name) => {
      expect(await visit(name, { method: "POST", origin: "own" })).toMatchObject({ status: 200 });
      expect((await visit(name, { method: "POST", origin: "http://evil.test" })).status).toBeGreaterThan(400);
    },
  );

  it("of Laravel let its own name in, under whichever it is asked for that it trusts", async () => {
    expect(await visit("laravel")).toMatchObject({ status: 200 });
  });

  it.each(["spring", "wordpress", ...(hasDjango ? ["django"] : [])])(
    "of %s see by which scheme a visitor came",
    async (name) => {
      const { status, headers } = await visit(name);
      expect(status).toBeOneOf([301, 302]);
      expect(headers.location).toMatch(new RegExp(`^https://${nameOf(name)}`));
    },
  );
});

describe("Express", () => {
  it("knows its name, the one asked for and the scheme", async () => {
    const { text } = await visit("express", { www: true });
    const host = `www.express.test:${edge.ports[0]}`;
    expect(JSON.parse(text)).toEqual({ hostname: "www.express.test", host, protocol: "http" });
    expect(apps.get("express")?.seen.at(-1)?.headers.host).toBe(`express.test:${edge.ports[0]}`);
  });

  it("answers 304 to the tag that it gave", async () => {
    const page = await visit("express", { path: "/page" });
    expect(page).toMatchObject({ status: 200, text: "the same words each time" });
    const again = await visit("express", { path: "/page", headers: { "if-none-match": page.headers.etag } });
    expect(again).toMatchObject({ status: 304, text: "" });
  });
});
