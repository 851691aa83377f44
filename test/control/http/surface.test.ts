import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { createApp } from "../../../src/control/app.ts";
import { ProblemError, statusOf, toRefusal } from "../../../src/control/http/problems.ts";
import { healthAnswerSchema } from "../../../src/protocol/api/health.ts";
import { PROBLEM_CODES, type Problem, problemSchema } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

const brokenDb = (message: string): Partial<Cloudflare.Env> => ({
  DB: new Proxy(env.DB, {
    get: () => () => {
      throw new Error(message);
    },
  }),
});

describe("every answer", () => {
  it("carries a request id, the caller's own if it sent one, and the security headers", async () => {
    const given = await api.get("/live", { headers: { "x-request-id": "trace-12345" } });
    expect(given.headers.get("x-request-id")).toBe("trace-12345");
    for (const path of ["/live", "/nowhere", "/api/docs", "/api/v1/apps"]) {
      const { headers } = await api.get(path);
      expect(headers.get("x-request-id")).toMatch(/^req_/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-frame-options")).toBe("DENY");
      expect(headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(headers.get("cache-control")).toBe("no-store");
    }
  });

  it("that is an error is a problem with code, detail, next and the request's id", async () => {
    const paths: [string, string][] = [
      ["GET", "/nowhere"],
      ["PATCH", "/api/v1/apps"],
      ["GET", "/api/v1/apps/none"],
      ["POST", "/api/v1/tokens"],
      ["GET", "/agent/v1/wake"],
    ];
    for (const [method, path] of paths) {
      const response = await api.call(method, path);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      const problem = problemSchema.strict().parse(await response.json());
      expect(problem.status).toBe(response.status);
      expect(problem.requestId).toBe(response.headers.get("x-request-id"));
      expect(problem.detail.length).toBeGreaterThan(10);
    }
  });

  it("to a wrong method says which are right", async () => {
    const response = await api.call("POST", "/api/v1/apps/shop");
    expect(await problemOf(response)).toBe("405 method_not_allowed");
    expect(response.headers.get("allow")).toBe("DELETE, GET, HEAD, OPTIONS, PUT");
  });

  it("to OPTIONS is what an address takes, and lets no page of elsewhere in", async () => {
    for (const [path, allow] of [
      ["/api/v1/apps/shop", "DELETE, GET, HEAD, OPTIONS, PUT"],
      ["/api/v1/oidc/exchange", "OPTIONS, POST"],
      ["/health", "GET, HEAD, OPTIONS"],
      ["/install.sh", "GET, HEAD, OPTIONS"],
    ] as const) {
      const headers = { origin: "https://evil.example", "access-control-request-method": "PUT" };
      // A preflight has no token with it.
      const response = await api.call("OPTIONS", path, { headers, token: null });
      expect([response.status, response.headers.get("allow"), await response.text()]).toEqual([
        204,
        allow,
        "",
      ]);
      const other = [...response.headers.keys()].filter((name) =>
        /^(access-control|content-type)/.test(name),
      );
      expect(other).toEqual([]);
    }
    expect(await problemOf(await api.call("OPTIONS", "/api/v1/nowhere"))).toBe("404 not_found");
  });

  it("to an address with a wrong sign in it is not found, whatever the method", async () => {
    for (const method of ["GET", "POST", "OPTIONS"])
      expect(await problemOf(await api.call(method, "/installxsh"))).toBe("404 not_found");
  });

  it("to a body over 1 MiB is 413, declared or not", async () => {
    const text = "x".repeat(1024 * 1024 + 1);
    expect(await problemOf(await api.apply("shop", text))).toBe("413 body_too_large");
    const body = new Response(text).body?.pipeThrough(new TransformStream());
    const request = new Request(api.request("PUT", "/api/v1/apps/shop"), { body: body ?? null });
    expect(await problemOf(await api.send(request))).toBe("413 body_too_large");
  });

  it("tells nothing of control's inside when it fails, and not the secret it was asked with", async () => {
    const broken = new Api({}, brokenDb("secret words at /src/file.ts:1"));
    const response = await broken.get("/api/v1/apps", { token: `slu_${"s".repeat(43)}` });
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(text).not.toContain("secret words");
    expect(text).not.toContain("sss");
  });

  it("is 503 with a time to come back when the database does not answer", async () => {
    const broken = new Api({}, brokenDb("D1_ERROR: Network connection lost"));
    const response = await broken.get("/api/v1/apps", { token: `slu_${"s".repeat(43)}` });
    expect(await problemOf(response)).toBe("503 unavailable");
    expect(response.headers.get("retry-after")).toBe("2");
  });
});

describe("health", () => {
  it("needs no token and tells the database's time", async () => {
    for (const path of ["/health", "/ready"]) {
      const response = await api.get(path, { token: null });
      expect(response.status).toBe(200);
      const answer = healthAnswerSchema.parse(await response.json());
      expect(answer).toMatchObject({ status: "healthy", checks: { database: { status: "up" } } });
    }
  });

  it("is 503 when the database is down, while live stays 200", async () => {
    const broken = new Api({}, brokenDb("D1_ERROR: gone"));
    for (const path of ["/health", "/ready"]) {
      const response = await broken.get(path, { token: null });
      expect(response.status).toBe(503);
      expect(healthAnswerSchema.parse(await response.json()).status).toBe("unhealthy");
    }
    expect((await broken.get("/live", { token: null })).status).toBe(200);
  });
});

describe("problem codes", () => {
  it("all have a status, and all that a coordinator refuses with reach the caller as they are", async () => {
    await world.applied(api);
    for (const code of PROBLEM_CODES) {
      api.coordinators.refusal = { code, detail: `refused with ${code}` };
      const response = await api.post("/api/v1/apps/shop/envs/production/releases", {});
      expect(response.status).toBe(statusOf(code));
      expect(await response.json<Problem>()).toMatchObject({ code, detail: `refused with ${code}` });
    }
  });

  it("of an unexpected error is internal, of a reason its own", () => {
    expect(toRefusal(new Error("bug")).code).toBe("internal");
    expect(toRefusal(new ProblemError({ code: "locked", detail: "x" })).code).toBe("locked");
    expect(toRefusal(Object.assign(new Error("x"), { overloaded: true })).code).toBe("unavailable");
    expect(toRefusal(new Error("D1_ERROR: no such column: x: SQLITE_ERROR")).code).toBe("internal");
  });
});

/** For people: no part of the API. */
const IS_PAGE = /^GET \/(api\/(docs|openapi|manifest)|login$|assets|$)| \/ui\//;

describe("the OpenAPI document", () => {
  const document = async () =>
    (await api.get("/api/openapi.json", { token: null })).json<{
      openapi: string;
      paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
      components: { schemas: Record<string, unknown> };
    }>();

  it("describes every route, and every route is described", async () => {
    const { paths, openapi } = await document();
    expect(openapi).toBe("3.1.0");
    const described = Object.entries(paths)
      .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`))
      .sort();
    const routed = createApp()
      .routes.filter(({ method, path }) => method !== "ALL" && !IS_PAGE.test(`${method} ${path}`))
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
    expect(described).toEqual([...new Set(routed)].sort());
    expect(described).toContain("PUT /api/v1/apps/{app}/envs/{env}/weights");
  });

  it("has no reference that leads nowhere, and an error answer everywhere", async () => {
    const { paths, components } = await document();
    const text = JSON.stringify({ paths, components });
    const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, to]) => to ?? "");
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references) {
      const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1] ?? reference;
      expect(Object.keys(components.schemas)).toContain(name);
    }
    for (const methods of Object.values(paths))
      for (const operation of Object.values(methods)) expect(operation.responses.default).toBeDefined();
  });

  it("says that what may be null may be null", async () => {
    const { components } = await document();
    const environment = components.schemas.Environment as { properties: { active: { anyOf: unknown[] } } };
    expect(environment.properties.active.anyOf).toContainEqual({ type: "null" });
  });

  it("can be read as a page that loads nothing from elsewhere and runs no script", async () => {
    const response = await api.get("/api/docs", { token: null });
    const page = await response.text();
    expect(response.headers.get("content-type")).toContain("text/html");
    for (const words of [
      "/api/v1/apps/{app}/envs/{env}/rollback",
      "schema-Release",
      "problem-hostname_taken",
    ])
      expect(page).toContain(words);
    expect(page).not.toMatch(/<script|<link|<img|src=|https?:\/\/(?!control)/);
  });

  it("says on that page how to sign a call, how to make each, and what its problems mean", async () => {
    const escaped = await (await api.get("/api/docs", { token: null })).text();
    const page = escaped.replaceAll("&quot;", '"');
    expect(page).toContain(`curl -H "Authorization: Bearer $SLUICE_TOKEN" "$SLUICE_URL/api/v1/apps"`);
    const part = /<details id="postAppEnvRollback">.*?<\/details>/s.exec(page)?.[0] ?? "";
    expect(part).toContain(
      `curl -X POST -H "Authorization: Bearer $SLUICE_TOKEN" -H "Content-Type: application/json" -d @body "$SLUICE_URL/api/v1/apps/{app}/envs/{env}/rollback"`,
    );
    expect(part).toContain(`<a href="#schema-Rollback">Rollback</a>`);
    expect(page).toMatch(/<tr id="problem-no_slots">.*too few free slots/);
    for (const [, id] of page.matchAll(/href="#([\w-]+)"/g)) expect(page).toContain(`id="${id}"`);
    expect(page.indexOf('<h2 id="agent">')).toBeGreaterThan(page.indexOf('<h2 id="webhooks">'));
    expect(page.indexOf('<h2 id="authentication">')).toBeLessThan(page.indexOf("<details"));
  });
});
