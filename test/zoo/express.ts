import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { Resident } from "./resident.ts";

/** Static files and pages by their tags, a part of a file, a posted one. */
export const express: Resident = {
  name: "express",
  programs: {},
  options: { command: ["node", "main.ts"] },
  async visit(visitor) {
    await visitor.step("the page", async () => {
      match((await visitor.ask(200, "/")).text, /stylesheet/);
    });
    for (const path of ["/style.css", "/page"]) {
      const tag = await visitor.step(`${path} with its tag`, async () => {
        const { etag } = (await visitor.ask(200, path)).headers;
        match(etag ?? "", /^(W\/)?".+"$/);
        return etag ?? "";
      });
      await visitor.step(`${path} that the visitor has`, async () => {
        const again = await visitor.ask(304, path, { headers: { "if-none-match": tag } });
        deepStrictEqual([again.text, again.headers.etag], ["", tag]);
      });
    }
    await visitor.step("a part of a file", async () => {
      strictEqual((await visitor.ask(206, "/style.css", { headers: { range: "bytes=0-3" } })).text, "body");
    });
    await visitor.step("something posted", async () => {
      const body = JSON.stringify({ at: Date.now() });
      const headers = { "content-type": "application/json", origin: visitor.origin };
      strictEqual((await visitor.ask(201, "/echo", { method: "POST", body, headers })).text, body);
    });
  },
};
