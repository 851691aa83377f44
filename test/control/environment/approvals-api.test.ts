import { eq } from "drizzle-orm";
import { beforeEach, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import type { Approval } from "../../../src/domain/approval/approval.ts";
import { releaseSchema } from "../../../src/protocol/api/releases.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const APPROVAL = "    approval: { before: traffic, by: 2, deadline: 2h }\n";
let api: Api;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  await api.apply("shop", world.manifest("shop", APPROVAL));
});

const environment = async () =>
  (await world.db.select().from(environments).get()) ?? expect.fail("nothing applied");
const approval: Approval = {
  ...{ gate: "traffic", step: null, subject: "sha256:ab", needed: 2, askedAt: 0, deadlineAt: 9e12 },
  given: [{ actor: "token:bob", identities: ["token:bob"], at: 0 }],
};
async function waiting(): Promise<string> {
  const { id } = await environment();
  const release = await world.release(id, { version: "v2", state: "shifting", stepIndex: 0, approval });
  return release;
}

it("a release says what it waits for, and how it goes on", async () => {
  expect((await environment()).spec.approval).toEqual({ before: "traffic", by: 2, deadlineMs: 7_200_000 });
  const id = await waiting();
  const view = releaseSchema.parse(await (await api.get(`/api/v1/releases/${id}`)).json());
  expect(view.approval).toMatchObject({ before: "traffic", needed: 2, waits: true, digest: "sha256:ab" });
  expect(view.approval?.given).toMatchObject([{ by: "token:bob" }]);
  expect(view.next.map(({ command }) => command)).toEqual([`sluice approve ${id}`, `sluice reject ${id}`]);
});

it("who starts and who approves are told by all that is known of them", async () => {
  const id = await waiting();
  const ann = await api.post("/api/v1/tokens", {
    ...{ name: "ann", role: "approver", app: "shop", person: "Ann@Acme.test" },
  });
  const { token, person } = await ann.json<{ token: string; person: string }>();
  expect(person).toBe("ann@acme.test");
  await api.post(`/api/v1/releases/${id}/approve`, { digest: "sha256:ab" }, { token });
  const [asked] = api.coordinators.of("approve");
  expect(asked?.input).toMatchObject({
    ...{ release: id, actor: "token:ann", subject: "sha256:ab", madeBy: ["admin"] },
    identities: ["token:ann", expect.stringMatching(/^id:tok_/), "person:ann@acme.test"],
  });
  await api.post("/api/v1/apps/shop/envs/production/releases", {});
  expect(api.coordinators.of("createRelease")[0]?.input).toMatchObject({ startedAs: ["admin"] });
});

it("a token that is made by a token is made by whoever made that one, too", async () => {
  const made = async (name: string, token?: string) => {
    const body = { name, role: "admin" };
    const answer = await api.post("/api/v1/tokens", body, token === undefined ? {} : { token });
    return (await answer.json<{ token: string }>()).token;
  };
  const id = await waiting();
  await api.post(
    `/api/v1/releases/${id}/approve`,
    { step: 1 },
    { token: await made("a2", await made("a1")) },
  );
  const [asked] = api.coordinators.of("approve");
  expect(asked?.input).toMatchObject({ step: 1, madeBy: expect.arrayContaining(["token:a1", "admin"]) });
});

it("no deployer takes the pauses away at which it is asked for", async () => {
  const token = await api.token("deployer");
  const rule = APPROVAL.replace("traffic", "step");
  const steps =
    "    strategy: { canary: { steps: [{ weight: 10 }, { pause: {} }, { weight: 50 }, { pause: {} }, { weight: 100 }] } }\n";
  const paused = await api.apply("shop", world.manifest("shop", rule + steps));
  expect(paused.status).toBe(200);
  const without = steps.replace("{ weight: 50 }, { pause: {} }, ", "");
  const refused = await api.apply("shop", world.manifest("shop", rule + without), { token });
  expect(await problemOf(refused)).toBe("403 forbidden");
});

it("no viewer, and no job that may only deploy, approves", async () => {
  const id = await waiting();
  const viewer = await api.token("viewer");
  for (const verb of ["approve", "reject"])
    expect(await problemOf(await api.post(`/api/v1/releases/${id}/${verb}`, {}, { token: viewer }))).toBe(
      "403 forbidden",
    );
  expect(api.coordinators.of("approve")).toEqual([]);
});

it("a deployer can't take the rule away that asks for approvals", async () => {
  const token = await api.token("deployer");
  const apply = (more: string) => api.apply("shop", world.manifest("shop", more), { token });
  for (const looser of ["", APPROVAL.replace("by: 2", "by: 1"), APPROVAL.replace("traffic", "release")])
    expect(await problemOf(await apply(looser))).toBe("403 forbidden");
  expect((await apply(APPROVAL.replace("by: 2", "by: 3"))).status).toBe(200);
  expect((await api.apply("shop", world.manifest("shop"))).status).toBe(200);
  expect((await environment()).spec.approval).toBeUndefined();
});

it("a deployer can't lead an environment's visitors to one that asks nobody", async () => {
  const manifest = (production: string, staging: string, rule = APPROVAL) =>
    `${world.manifest("shop", rule).replace("shop.example.com", production)}  staging:\n    hostnames: [${staging}]\n`;
  const [shop, staging] = ["shop.example.com", "staging.example.com"];
  expect((await api.apply("shop", manifest(shop, staging))).status).toBe(200);
  const token = await api.token("deployer");
  const swapped = await api.apply("shop", manifest(staging, shop), { token });
  expect(await problemOf(swapped)).toBe("403 forbidden");
  // Left out for once, and back without the rule.
  expect((await api.apply("shop", world.manifest("shop").replace("production", "other"))).status).toBe(200);
  const back = await api.apply("shop", world.manifest("shop"), { token });
  expect(await problemOf(back)).toBe("403 forbidden");
});

it("the dashboard's button approves the digest that it showed", async () => {
  const id = await waiting();
  const session =
    (
      await api.call("POST", "/login", {
        token: null,
        json: { token: await api.token("approver") },
        headers: { origin: "https://control.test" },
      })
    ).headers.get("set-cookie") ?? "";
  const cookie = session.split(";")[0] ?? "";
  const headers = { cookie, "content-type": "application/x-www-form-urlencoded" };
  const text = new URLSearchParams({ release: id, digest: "sha256:ab" }).toString();
  const send = (more: Record<string, string>) =>
    api.call("POST", "/ui/apps/shop/production/moves/approve", {
      token: null,
      text,
      headers: { ...headers, ...more },
    });
  expect((await send({ origin: "https://evil.test" })).status).toBe(403);
  expect(api.coordinators.of("approve")).toEqual([]);
  expect((await send({ origin: "https://control.test", "sec-fetch-site": "same-origin" })).status).toBe(303);
  expect(api.coordinators.of("approve")[0]?.input).toMatchObject({ release: id, subject: "sha256:ab" });
  await world.db.update(releases).set({ approval: null }).where(eq(releases.id, id));
});
