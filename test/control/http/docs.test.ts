import { expect, it } from "vitest";
import { Api } from "../support/api.ts";

it("every page of the documentation is there as Markdown, named in llms.txt, without a token", async () => {
  const api = new Api();
  const index = await (await api.get("/llms.txt", { token: null })).text();
  const paths = [...index.matchAll(/\((\/docs\/[^)]+)\)/g)].map(([, path = ""]) => path);
  expect(paths).toContain("/docs/releases.md");
  for (const path of paths) {
    const page = await api.get(path, { token: null });
    expect(page.headers.get("content-type")).toBe("text/markdown; charset=utf-8");
    expect(await page.text()).toMatch(/^# /m);
  }
  for (const path of ["/docs/none.md", "/docs/constructor"])
    expect((await api.get(path, { token: null })).status).toBe(404);
});
