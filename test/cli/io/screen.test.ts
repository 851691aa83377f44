import { expect, test } from "vitest";
import { Output } from "../../../cli/io/output.ts";
import { Screen } from "../../../cli/io/screen.ts";
import { anEnvironment, fakeApi, type Route } from "../../support/cli/fake-api.ts";
import { startCli } from "../../support/cli/run-cli.ts";

function onTerminal(isTTY: boolean) {
  const written = { stdout: "", stderr: "" };
  const to = (name: keyof typeof written) => (text: string) => {
    written[name] += text;
  };
  const terminal = {
    stdout: { isTTY, write: to("stdout") },
    stderr: { isTTY, columns: 20, write: to("stderr") },
    env: {},
  };
  return { written, screen: new Screen(new Output(terminal, "off")) };
}

test("on a terminal it is drawn in its own place, each line within the terminal's width", () => {
  const { written, screen } = onTerminal(true);
  screen.show("shop v1\nserves", true);
  expect(written.stderr).toBe("shop v1\nserves\n");
  written.stderr = "";
  screen.show(`shop v2${".".repeat(40)}`, false);
  expect(written).toEqual({ stdout: "", stderr: "\r\u001b[2A\u001b[0Jshop v2............\n" });
});

test("where every byte is kept it is written when it is news, without a single control sequence", () => {
  const { written, screen } = onTerminal(false);
  for (const isNews of [true, false, false, true]) screen.show("shop v1", isNews);
  expect(written).toEqual({ stdout: "shop v1\nshop v1\n", stderr: "" });
});

test("`status --watch` says what serves when that has changed, and nothing between, until Ctrl-C", async () => {
  const environment =
    (version: string): Route =>
    (_asked, answer, nth) =>
      answer.json(200, anEnvironment([[nth < 3 ? "v1" : version, 100]]), { etag: nth < 3 ? '"1"' : '"2"' });
  await using api = await fakeApi({ "GET /api/v1/apps/shop/envs/production": environment("v2") });
  const cli = await startCli(["status", "--watch", "-a", "shop"], { url: api.url });
  await new Promise<void>((resolve) =>
    cli.child.stdout?.on("data", (chunk) => String(chunk).includes("  v2") && resolve()),
  );
  cli.child.kill("SIGINT");
  const { stdout } = await cli.done;
  expect(stdout.match(/^ {2}v\d/gm)).toEqual(["  v1", "  v2"]);
});
