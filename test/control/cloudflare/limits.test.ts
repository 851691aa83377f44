import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { openCloudflare } from "../../../src/control/cloudflare/cloudflare.ts";
import { LIMITS } from "../../support/runtime-limits.ts";
import { asInvocation } from "../support/invocation.ts";
import { Account } from "./support.ts";

it("a call of control's asks Cloudflare's API 50 times on Free, and not once more", async () => {
  const account = await Account.open();
  const cf = openCloudflare(env);
  if (!cf) throw new Error("control is not bound to the stand-in");
  const ask = (times: number) =>
    asInvocation(async () => {
      for (let n = 0; n < times; n++) await cf.sdk.zones.list({ name: "example.com" });
    });
  const before = (await account.calls()).length;
  await ask(LIMITS.fetch.subrequestsOnFree);
  await expect(ask(LIMITS.fetch.subrequestsOnFree + 1)).rejects.toThrow();
  expect((await account.calls()).length - before).toBe(2 * LIMITS.fetch.subrequestsOnFree);
});
