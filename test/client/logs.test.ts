import { expect, test } from "vitest";
import {
  ApiError,
  Client,
  ConnectionError,
  type LogItem,
  type LogsOptions,
  ProtocolError,
} from "../../src/client/index.ts";
import { closedUrl, fakeApi, type Route } from "../support/cli/fake-api.ts";
import { LOGS, logFeed } from "../support/cli/log-feed.ts";
import { TIMED } from "../support/patience.ts";

const inTurn =
  (...routes: readonly Route[]): Route =>
  (asked, answer, nth) =>
    routes[Math.min(nth, routes.length) - 1]?.(asked, answer, nth);

async function read(url: string, options: LogsOptions = {}): Promise<LogItem[]> {
  const client = new Client({ url, token: "x", sleep: async () => {} });
  const items: LogItem[] = [];
  for await (const item of client.environments.logs("shop", "production", options)) items.push(item);
  return items;
}
const told = (items: readonly LogItem[]) =>
  items.map((item) => (item.kind === "line" ? item.line.text : item.kind));

test("asks for what was wanted, and ends with the end", async () => {
  await using api = await fakeApi({
    [LOGS]: (_asked, answer) => {
      const feed = logFeed(answer.feed());
      feed.host("joined", "web-1 sends its lines");
      feed.lines("1//a=1", "one", "two");
      feed.gap(10);
      feed.end();
    },
  });
  const items = await read(api.url, { release: "v2", host: "web-1", since: "10m", tail: 5 });
  expect(told(items)).toEqual(["host", "one", "two", "gap", "end"]);
  expect(Object.fromEntries(api.asked[0]?.query ?? [])).toEqual({
    release: "v2",
    host: "web-1",
    since: "10m",
    tail: "5",
  });
});

test(
  "goes on behind the last whole event when the connection breaks, and repeats nothing",
  TIMED,
  async () => {
    await using api = await fakeApi({
      [LOGS]: inTurn(
        (_asked, answer) => {
          const raw = answer.feed();
          const feed = logFeed(raw);
          feed.lines("1//a=1", "one");
          // Cut in the middle of an event: as good as never sent.
          raw.raw('id: 1//a=2\nevent: lines\ndata: {"lines":[');
          setTimeout(() => feed.drop(), 20);
        },
        (_asked, answer) => answer.problem({ code: "unavailable", status: 503 }),
        (_asked, answer) => {
          const feed = logFeed(answer.feed());
          feed.lines("1//a=2", "two");
          feed.end();
        },
      ),
    });
    expect(told(await read(api.url, { follow: true, tail: 7 }))).toEqual([
      "one",
      "lost",
      "lost",
      "back",
      "two",
      "end",
    ]);
    expect(api.asked.map(({ headers }) => headers["last-event-id"])).toEqual([undefined, "1//a=1", "1//a=1"]);
    const queries = api.asked.map(({ query }) => query.toString());
    expect(queries).toEqual(Array(3).fill("follow=1&tail=7"));
  },
);

test.each(["unavailable", "forbidden"] as const)(
  "throws that it is %s before a line was read",
  async (code) => {
    await using api = await fakeApi({
      [LOGS]: (_asked, answer) => answer.problem({ code, status: code === "forbidden" ? 403 : 503 }),
    });
    await expect(read(api.url, { follow: true })).rejects.toBeInstanceOf(ApiError);
  },
);

test("comes back without a word when its time was over", async () => {
  await using api = await fakeApi({
    [LOGS]: inTurn(
      (_asked, answer) => {
        const feed = logFeed(answer.feed());
        feed.lines("1//a=1", "one");
        feed.close();
      },
      (_asked, answer) => logFeed(answer.feed()).end(),
    ),
  });
  expect(told(await read(api.url, { follow: true }))).toEqual(["one", "end"]);
  expect(api.asked[1]?.headers["last-event-id"]).toBe("1//a=1");
});

test("gives up where nothing ever answered, and where that is not Sluice", async () => {
  await expect(read(await closedUrl(), { follow: true, giveUpMs: 0 })).rejects.toBeInstanceOf(
    ConnectionError,
  );
  await using api = await fakeApi({
    [LOGS]: (_asked, answer) => answer.feed().raw('event: lines\ndata: {"lines":[{}]}\n\n'),
  });
  await expect(read(api.url)).rejects.toBeInstanceOf(ProtocolError);
});
