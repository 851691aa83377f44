import { describe, expect, test } from "vitest";
import { webAddress } from "../../../cli/io/git.ts";
import {
  ago,
  at,
  clean,
  clock,
  duration,
  inWords,
  percent,
  quote,
  table,
  tame,
  until,
} from "../../../cli/io/print.ts";

describe("figures read as people say them", () => {
  test.each([
    [0, "0 ms"],
    [850, "850 ms"],
    [12_400, "12.4 s"],
    [372_000, "6 m 12 s"],
    [7_500_000, "2 h 5 m"],
    [273_600_000, "3 d 4 h"],
  ])("%i ms as %s", (ms, text) => expect(duration(ms)).toBe(text));

  test.each([
    [7_900, "0:07"],
    [751_000, "12:31"],
    [3_602_000, "1:00:02"],
    [-5, "0:00"],
  ])("%i ms on the clock as %s", (ms, text) => expect(clock(ms)).toBe(text));

  test("weights without needless decimals", () => {
    expect([percent(25), percent(25.5), percent(33.333)]).toEqual(["25%", "25.5%", "33.33%"]);
  });

  test("times against now", () => {
    const now = Date.parse("2026-11-23T12:00:00Z");
    expect(ago("2026-11-23T11:57:00Z", now)).toBe("3 m ago");
    expect(until("2026-11-23T14:00:00Z", now)).toBe("in 2 h");
    expect(until("2026-11-23T12:59:59Z", now)).toBe("in 59 m 59 s");
    expect(until("2026-11-23T11:00:00Z", now)).toBe("now");
    expect(at("2026-11-23T11:00:00.123Z")).toBe("2026-11-23 11:00:00 UTC");
  });

  test("states in words", () => {
    expect(["rolled_back", "rolling_back", "live"].map(inWords)).toEqual([
      "rolled back",
      "rolling back",
      "live",
    ]);
  });
});

test("columns line up and end without blanks", () => {
  expect(
    table([
      ["A", "LONG"],
      ["aaaa", "b"],
    ]),
  ).toBe("A     LONG\naaaa  b");
});

test("text from elsewhere can't carry control characters", () => {
  expect(clean("a\u001b[31mred\u001b[0m\u0007\r\nb\u009b2J")).toBe("ared   b");
});

test.each([
  ["shop", "shop"],
  ["https://x.example.com/a?b=1", "'https://x.example.com/a?b=1'"],
  ["it's; rm -rf /", "'it'\\''s; rm -rf /'"],
])("%s is quoted for a shell as %s", (word, quoted) => expect(quote(word)).toBe(quoted));

test.each([
  ["git@github.com:acme/shop.git", "https://github.com/acme/shop"],
  ["ssh://git@github.com:22/acme/shop.git", "https://github.com/acme/shop"],
  ["https://x-access-token:ghs_secret@github.com/acme/shop.git", "https://github.com/acme/shop"],
  ["/srv/git/shop", undefined],
])("the remote %s is shown as %s", (remote, url) => expect(webAddress(remote)).toBe(url));

test("text that a CI would take for its own commands is broken, and reads as before", () => {
  const lines = [
    "##[error]x",
    "app | ##[group]y",
    "::error::z",
    "  ::add-mask::w",
    "a::b ::c",
    "[::1]:80",
    "::1",
  ];
  const tamed = tame(lines.join("\n")).split("\n");
  expect(tamed.filter((line) => /##\[|^\s*::/.test(line))).toEqual([]);
  expect(tamed.map((line) => line.replaceAll("\u200b", ""))).toEqual(lines);
  expect(tamed.slice(4, 6)).toEqual(lines.slice(4, 6));
});
