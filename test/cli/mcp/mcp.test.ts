import { describe, expect, test } from "vitest";
import { fakeApi, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";

const refused: Route = (_asked, answer) =>
  answer.problem({ code: "not_found", status: 404, detail: "there is no app `shop`" });

/** What an agent says on stdin, and all that it reads on stdout, by id. */
async function talk(args: readonly string[], said: readonly object[]) {
  await using api = await fakeApi({ "GET /api/v1/apps/shop/envs/production": refused });
  const lines = said.map((message, id) => JSON.stringify({ jsonrpc: "2.0", id, ...message }));
  const ran = await callCli(["mcp", ...args], { url: api.url, stdin: `${lines.join("\n")}\nno json\n` });
  const read = ran.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return { ran, of: (id: number | null) => read.find((one) => one.id === id), asked: api.asked };
}

describe.concurrent("mcp", () => {
  test("offers reading only, and says in words what control refuses", async () => {
    const call = { name: "status", arguments: { app: "shop" } };
    const { ran, of } = await talk(
      [],
      [
        { method: "initialize", params: { protocolVersion: "2025-03-26", capabilities: {} } },
        { method: "tools/list" },
        { method: "tools/call", params: call },
        { method: "tools/call", params: { name: "status", arguments: { app: 7 } } },
        { method: "tools/call", params: { name: "promote", arguments: { release: "rel_1" } } },
        { method: "resources/list" },
      ],
    );
    expect(ran.code).toBe(0);
    expect(of(0).result.protocolVersion).toBe("2025-03-26");
    const { tools } = of(1).result;
    expect(tools.map(({ name }: { name: string }) => name)).toContain("verdicts");
    expect(
      tools.filter((tool: { annotations: { readOnlyHint: boolean } }) => !tool.annotations.readOnlyHint),
    ).toEqual([]);
    expect(of(2).result.isError).toBe(true);
    expect(of(2).result.content[0].text).toContain("there is no app `shop`");
    expect(of(3).result.isError).toBe(true);
    expect(of(4).error.message).toBe("there is no tool promote");
    expect(of(5).error.code).toBe(-32_601);
    expect(of(null).error.code).toBe(-32_700);
  });

  test("moves only where a person let it", async () => {
    const { of } = await talk(["--allow-moves"], [{ method: "tools/list" }]);
    const moves = of(0).result.tools.filter(
      (tool: { annotations: { readOnlyHint: boolean } }) => !tool.annotations.readOnlyHint,
    );
    expect(moves.map(({ name }: { name: string }) => name)).toEqual([
      "promote",
      "pause",
      "resume",
      "abort",
      "rollback",
    ]);
  });
});
