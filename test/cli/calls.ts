import { fakeApi, MANIFEST, type Route } from "../support/cli/fake-api.ts";
import { callCli } from "../support/cli/run-cli.ts";

/** One verb against an API that a test scripts. */
export const files = { "sluice.yaml": MANIFEST };
export const says =
  (body: unknown, status = 200): Route =>
  (_asked, answer) =>
    answer.json(status, body);
export const page = (...items: unknown[]): Route => says({ items, nextCursor: null });
/** `more`: further files of the folder. */
export const run = async (
  args: readonly string[],
  routes: Record<string, Route>,
  more: Record<string, string> = {},
) => {
  await using api = await fakeApi(routes);
  return { ...(await callCli(args, { url: api.url, files: { ...files, ...more } })), asked: api.asked };
};
/** What was sent by one method. */
export const sent = (asked: readonly { method: string; path: string; body: string }[], method: string) =>
  asked
    .filter((call) => call.method === method)
    .map(({ path, body }) => ({ path, body: body === "" ? undefined : JSON.parse(body) }));
