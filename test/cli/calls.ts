import { fakeApi, MANIFEST, type Route } from "../support/cli/fake-api.ts";
import { callCli } from "../support/cli/run-cli.ts";

/** One verb against an API that a test scripts. */
const files = { "sluice.yaml": MANIFEST };
export const page =
  (...items: unknown[]): Route =>
  (_asked, answer) =>
    answer.json(200, { items, nextCursor: null });
export const run = async (args: readonly string[], routes: Record<string, Route>) => {
  await using api = await fakeApi(routes);
  return { ...(await callCli(args, { url: api.url, files })), asked: api.asked };
};
