import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { fakeApi, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { goodDeploy } from "../scenarios.ts";

const TRADED = {
  expiresAt: "2999-01-01T00:00:00.000Z",
  role: "deployer",
  action: "deploy",
  app: "shop",
  environment: "production",
  trust: "tru_1",
};
const trade: Route = (_, answer) => answer.json(201, { token: "slu_traded", ...TRADED });
const EXCHANGE = "POST /api/v1/oidc/exchange";

describe("in a CI job without a stored secret", () => {
  test("of GitHub or Forgejo the runner is asked for a token for this control plane, which is traded", async () => {
    await using runner = await fakeApi({
      "GET /token": (_, answer) => answer.json(200, { value: "the.jobs.jwt" }),
    });
    await using api = await fakeApi({ ...goodDeploy(), [EXCHANGE]: trade });
    const env = {
      SLUICE_URL: api.url,
      SLUICE_TOKEN: "",
      ACTIONS_ID_TOKEN_REQUEST_URL: `${runner.url}/token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: "runners-own",
    };
    const ran = await callCli(["deploy", "-a", "shop", "-e", "production"], { env });
    expect(ran, ran.stderr).toMatchObject({ code: 0 });
    const [asked] = runner.asked;
    expect(asked?.query.get("audience")).toBe(api.url);
    expect(asked?.headers.authorization).toBe("Bearer runners-own");
    const [exchange, ...others] = api.asked;
    expect(exchange?.headers.authorization).toBeUndefined();
    expect(JSON.parse(exchange?.body ?? "")).toEqual({
      token: "the.jobs.jwt",
      app: "shop",
      environment: "production",
    });
    expect(new Set(others.map(({ headers }) => headers.authorization))).toEqual(
      new Set(["Bearer slu_traded"]),
    );
    expect(ran.stdout + ran.stderr).not.toMatch(/the\.jobs\.jwt|slu_traded|runners-own/);
  });

  test.each([
    ["", TRADED.expiresAt],
    [", on a runner whose clock is hours ahead", "2020-01-01T00:00:00.000Z"],
  ])("a token that was given is traded once for all commands of the job%s", async (_how, expiresAt) => {
    const trade: Route = (_asked, answer) => answer.json(201, { token: "slu_traded", ...TRADED, expiresAt });
    await using api = await fakeApi({ ...goodDeploy(), [EXCHANGE]: trade });
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "", SLUICE_OIDC_TOKEN: `given.${randomUUID()}.jwt` };
    for (const verb of ["deploy", "status"]) {
      const ran = await callCli([verb, "-a", "shop", "-e", "production"], { env });
      expect(ran, ran.stderr).toMatchObject({ code: 0 });
    }
    expect(api.asked.filter(({ path }) => path.endsWith("/exchange"))).toHaveLength(1);
  });

  test("a stored token goes first", async () => {
    await using api = await fakeApi(goodDeploy());
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "slu_stored", SLUICE_OIDC_TOKEN: "given.jwt.x" };
    const ran = await callCli(["deploy", "-a", "shop", "-e", "production"], { env });
    expect(ran, ran.stderr).toMatchObject({ code: 0 });
    expect(api.asked[0]?.headers.authorization).toBe("Bearer slu_stored");
  });

  test("control's word against the token is the command's, and nothing else is asked", async () => {
    const detail = "the CI system's token opens nothing here: `ref` is `refs/heads/dev`";
    await using api = await fakeApi({
      [EXCHANGE]: (_, answer) => answer.problem({ code: "oidc_refused", status: 403, detail }),
    });
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "", SLUICE_OIDC_TOKEN: `given.${randomUUID()}.jwt` };
    const ran = await callCli(["status", "-a", "shop"], { env });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(detail);
    expect(api.asked).toHaveLength(1);
  });

  test("a runner that gives none, or would be asked in clear, is named", async () => {
    await using runner = await fakeApi({});
    await using api = await fakeApi({});
    const ask = async (url: string) => {
      const env = {
        SLUICE_URL: api.url,
        SLUICE_TOKEN: "",
        ACTIONS_ID_TOKEN_REQUEST_URL: url,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: "x",
      };
      return (await callCli(["status", "-a", "shop"], { env })).stderr;
    };
    expect(await ask(`${runner.url}/token`)).toContain("the runner answered 404");
    expect(await ask("http://runner.example.com/token")).toContain("is plain http");
    expect(api.asked).toHaveLength(0);
  });
});
