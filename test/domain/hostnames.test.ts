import { describe, expect, it } from "vitest";
import { covers, whyReserved } from "../../src/domain/hostnames.ts";

describe("a pattern", () => {
  it.each([
    ["shop.example.com", "shop.example.com", true],
    ["shop.example.com", "www.shop.example.com", false],
    ["*.example.com", "shop.example.com", true],
    ["*.example.com", "a.b.example.com", true],
    ["*.example.com", "*.b.example.com", true],
    ["*.example.com", "*.example.com", true],
    ["*.example.com", "example.com", false],
    ["*.example.com", ".example.com", false],
    ["*.example.com", "evilexample.com", false],
    ["*.example.com", "shop.example.com.evil.net", false],
    ["shop_example.com", "shop.example.com", false],
    ["shop.example.com", "shop.example.com/api", true],
    ["shop.example.com/api", "shop.example.com/api/v2", true],
    ["shop.example.com/api", "shop.example.com/apis", false],
    ["shop.example.com/api", "shop.example.com", false],
    ["*.example.com", "shop.example.com/api", true],
    ["*.example.com", "example.com/api.example.com", false],
  ])("%s covers %s: %s", (pattern, name, is) => {
    expect(covers(pattern, name)).toBe(is);
  });
});

describe("no app may have", () => {
  const reserved = { control: ["Sluice.Example.com.", "control.test"], slotZone: "Slots.example" };
  it.each([
    ["sluice.example.com", "control plane's own"],
    ["control.test", "control plane's own"],
    ["*.example.com", "control plane's own"],
    ["sl-0123456789abcdef.slots.example", "slots of hosts"],
    ["sl-x.slots.example", "slots of hosts"],
    ["*.slots.example", "slots of hosts"],
    ["sluice.example.com/api", "control plane's own"],
    ["sl-x.slots.example/api", "slots of hosts"],
    ["localhost", "single label"],
    ["com", "single label"],
  ])("%s: %s", (hostname, why) => {
    expect(whyReserved(hostname, reserved)).toContain(why);
  });

  it.each([
    "shop.example.com",
    "www.sluice.example.com",
    "sl-1.example.com",
    "slots.example",
    "*.a.example.com",
  ])("whereas %s may be had", (hostname) => {
    expect(whyReserved(hostname, reserved)).toBeNull();
  });
});
