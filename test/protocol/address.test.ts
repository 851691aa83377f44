import { describe, expect, test } from "vitest";
import { addressProblem } from "../../src/protocol/address.ts";

describe("a token is sent", () => {
  test.each([
    "https://sluice.example.com",
    "http://127.0.0.1:8787",
    "http://127.1",
    "http://[::1]:8787",
    "HTTP://LocalHost:1",
    "http://control.localhost",
  ])("to %s", (url) => expect(addressProblem(url)).toBeUndefined());

  test.each([
    ["http://sluice.example.com", "use https://sluice.example.com"],
    ["http://10.0.0.7:8787", "plain http"],
    ["http://localhost.evil.test", "plain http"],
    ["http://127.0.0.1.evil.test", "plain http"],
    ["http://localhost@evil.test", "carries a user name"],
    ["https://localhost:x@evil.test", "carries a user name"],
    ["http://0.0.0.0", "plain http"],
    ["http://[::ffff:8.8.8.8]", "plain http"],
    ["ftp://localhost", "is not an https URL"],
    ["sluice.example.com", "is not an https URL"],
  ])("never to %s", (url, why) => expect(addressProblem(url)).toContain(why));
});
