import { describe, expect, it } from "vitest";
import {
  isSlotHostname,
  isWithin,
  originSuffixes,
  slotHostname,
  zoneOfSlot,
} from "../../../src/domain/routing/slot.ts";

const SLOT = "sl-0123456789abcdef.example.com";

describe("a slot's hostname", () => {
  it("is one label deep below its zone, as Universal SSL needs it", () => {
    expect(slotHostname("0123456789abcdef", "example.com")).toBe(SLOT);
    expect([isSlotHostname(SLOT, "example.com"), zoneOfSlot(SLOT)]).toEqual([true, "example.com"]);
  });

  it.each([
    "sl-shop.example.com",
    "sl-0123456789ABCDEF.example.com",
    "sl-0123456789abcde.example.com",
    "sl-0123456789abcdef.a.example.com",
    "xx-0123456789abcdef.example.com",
    "example.com",
  ])("is not %s", (hostname) => {
    expect(isSlotHostname(hostname, "example.com")).toBe(false);
  });
});

describe("within a zone", () => {
  it.each([
    ["example.com", true],
    ["a.example.com", true],
    ["a.b.example.com", true],
    ["aexample.com", false],
    ["example.com.evil.test", false],
  ])("%s: %s", (hostname, is) => {
    expect(isWithin(hostname, "example.com")).toBe(is);
  });
});

describe("the origins that a table may name", () => {
  it("are any where there are no tunnels", () => {
    expect(originSuffixes(["https://anywhere.test"], undefined)).toEqual([]);
  });

  it("are those in the slots' zone, and no other that has no port", () => {
    expect(originSuffixes([`https://${SLOT}`, "https://evil.test"], "example.com")).toEqual([".example.com"]);
  });

  it("are hosts with an address of their own beside them", () => {
    const origins = [`https://${SLOT}`, "http://10.0.0.5:8001", "http://10.0.0.5:8002"];
    expect(originSuffixes(origins, "example.com")).toEqual([".example.com", "10.0.0.5"]);
  });

  it("are slots of the zone before too: they may serve right now", () => {
    expect(originSuffixes([`https://${SLOT}`], "new.test")).toEqual([".new.test", ".example.com"]);
  });
});
