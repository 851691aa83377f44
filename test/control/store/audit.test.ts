import { env, runInDurableObject } from "cloudflare:test";
import { sql } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import type { Auditor } from "../../../src/control/audit/auditor.ts";
import { sealAudit } from "../../../src/control/audit/seal.ts";
import { sha256 } from "../../../src/control/ids.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { insertEvent } from "../../../src/control/store/events.ts";
import { prune } from "../../../src/control/store/upkeep/retention.ts";
import { type AuditChain, auditChainSchema } from "../../../src/protocol/audit.ts";
import { Verification } from "../../../src/protocol/audit-hash.ts";
import { Api } from "../support/api.ts";
import * as world from "../support/world.ts";

const DAY = 86_400_000;
const db = openDb(env.DB);
let api: Api;

const write = (message: string, at = Date.now(), more = {}) =>
  insertEvent(db, { at, type: "release.state", actor: "token:ci", message, data: { b: 1, a: [2] }, ...more });

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  for (const message of ["one", "two", "three", "four"]) await write(message);
});

const chain = async (): Promise<AuditChain> =>
  auditChainSchema.parse(await (await api.get("/api/v1/audit/chain")).json());

/** What `sluice audit verify` finds. */
async function found(now = Date.now()): Promise<string[]> {
  const { items, head } = await chain();
  const verification = new Verification(sha256, now);
  for (const entry of items) await verification.add(entry);
  verification.end(head, head.id === 0 || items.some(({ link }) => link?.hash === head.hash));
  return verification.problems.map(({ what, id }) => `${what} ${id}`);
}

const change = (statement: string) => db.run(sql.raw(statement));

describe("the audit log's chain", () => {
  it("is whole as it was written, also over pages", async () => {
    expect(await found()).toEqual([]);
    const first = await (await api.get("/api/v1/audit/chain?limit=3")).json<AuditChain>();
    const rest = await api.get(`/api/v1/audit/chain?limit=3&cursor=${first.nextCursor}`);
    const { items } = await rest.json<AuditChain>();
    expect([...first.items, ...items].map(({ id }) => id)).toEqual([1, 2, 3, 4]);
  });

  it.each([
    ["changed", "UPDATE events SET actor = 'token:ann' WHERE id = 2", ["changed 2"]],
    ["changed within its data", `UPDATE events SET data = '{"a":[3],"b":1}' WHERE id = 2`, ["changed 2"]],
    ["removed", "DELETE FROM events WHERE id = 3", ["removed 3"]],
    ["put elsewhere", "UPDATE events SET id = 9 WHERE id = 2", ["removed 2"]],
    ["given the same key order", `UPDATE events SET data = '{"a":[2],"b":1}' WHERE id = 2`, []],
  ])("shows a row that was %s", async (_, tampering, problems) => {
    await sealAudit(env);
    await change(tampering);
    expect(await found()).toEqual(problems);
  });

  it("shows a row that was removed with its link, and two that changed places", async () => {
    await sealAudit(env);
    await change("DELETE FROM events WHERE id = 2");
    await change("DELETE FROM audit_links WHERE event_id = 2");
    expect(await found()).toEqual(["broken 3"]);
    await change("UPDATE audit_links SET event_id = 20 WHERE event_id = 3");
    await change("UPDATE audit_links SET event_id = 3 WHERE event_id = 4");
    await change("UPDATE audit_links SET event_id = 4 WHERE event_id = 20");
    expect((await found()).filter((one) => one.startsWith("broken"))).toEqual(["broken 3", "broken 4"]);
  });

  it("shows a row that was put in between", async () => {
    await change("UPDATE sqlite_sequence SET seq = 10 WHERE name = 'events'");
    await write("eleven");
    await sealAudit(env);
    await change(
      `INSERT INTO events (id, at, type, actor, message, data) VALUES (7, 1, 'x', 'x', 'x', '{}')`,
    );
    expect(await found()).toEqual(["inserted 7"]);
  });

  it("shows an end that was cut off, and goes on after it", async () => {
    await sealAudit(env);
    await change("DELETE FROM events WHERE id > 2");
    await change("DELETE FROM audit_links WHERE event_id > 2");
    expect(await found()).toEqual([expect.stringMatching(/^cut /)]);
    await write("later");
    // Said in the log itself from now on, and never taken back.
    expect(await found()).toEqual([expect.stringMatching(/^cut /)]);
  });

  it("is one chain, however many write and seal at once", async () => {
    const auditor = () => env.AUDITOR.getByName("another") as unknown as DurableObjectStub<Auditor>;
    await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        await write(`at once ${n}`);
        await (n % 2 === 0 ? sealAudit(env) : runInDurableObject(auditor(), (one) => one.seal()));
      }),
    );
    expect(await found()).toEqual([]);
    expect((await chain()).items).toHaveLength(24);
  });

  it("keeps the links of what retention lets go, and no other way out", async () => {
    await api.apply("shop", world.manifest("shop"));
    const { id: environmentId } = (await db.all<{ id: string }>(sql`SELECT id FROM environments`))[0] ?? {};
    await write("old", Date.now() - 500 * DAY, { environmentId });
    await write("new", Date.now(), { environmentId });
    await sealAudit(env);
    await prune(db, Date.now());
    const { items } = await chain();
    expect(items.filter(({ event }) => event === null)).toHaveLength(1);
    expect(await found()).toEqual([]);
    await change("DELETE FROM events WHERE message = 'new'");
    expect(await found()).toEqual([expect.stringMatching(/^removed /)]);
  });
});
