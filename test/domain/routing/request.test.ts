import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSafe, verdictOf } from "../../../src/domain/routing/attempt.ts";
import {
  cookieValue,
  previewToken,
  visitorCookie,
  visitorId,
  withoutPreview,
} from "../../../src/domain/routing/cookie.ts";
import { normalHostname, splitUrl } from "../../../src/domain/routing/hostname.ts";
import { latencyBucket, windowOf } from "../../../src/domain/routing/meter.ts";
import { formatPreviewToken, parsePreviewToken } from "../../../src/domain/routing/preview.ts";

describe("splitting a URL", () => {
  it.each([
    ["http://shop.test/a/../b?x=%zz&y=a'b", "shop.test", "/a/../b?x=%zz&y=a'b"],
    ["https://shop.test", "shop.test", "/"],
    ["http://shop.test?q=1", "shop.test", "/?q=1"],
    ["http://SHOP.test.:8787//x//y", "SHOP.test.:8787", "//x//y"],
    ["http://[::1]:8787/x", "[::1]:8787", "/x"],
  ])("cuts %s without touching the path", (url, authority, target) => {
    expect(splitUrl(url)).toEqual({ secure: url.startsWith("https"), authority, target });
  });

  it.each([
    ["SHOP.Test", "shop.test"],
    ["shop.test.:8787", "shop.test"],
    ["shop.test.", "shop.test"],
    ["user:secret@shop.test:1", "shop.test"],
    ["[::1]:8787", "[::1]"],
    ["", ""],
  ])("takes %s for %s", (authority, hostname) => {
    expect(normalHostname(authority)).toBe(hostname);
  });

  it("gives the same hostname however it is written", () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,10}$/);
    fc.assert(
      fc.property(
        fc.array(label, { minLength: 1, maxLength: 4 }),
        fc.nat({ max: 65_535 }),
        (labels, port) => {
          const hostname = labels.join(".");
          for (const written of [hostname, hostname.toUpperCase(), `${hostname}.`, `${hostname}:${port}`]) {
            expect(normalHostname(written)).toBe(hostname);
          }
        },
      ),
    );
  });
});

describe("cookies", () => {
  it.each([
    ["beta=1", "1"],
    ["a=2; beta=1; c=3", "1"],
    ["xbeta=9; beta=1", "1"],
    ["beta=", ""],
    ["a=1, beta=2", "2"],
    ["betamax=1", null],
    ["a=beta=1", null],
    [null, null],
  ])("reads beta out of %j", (header, value) => {
    expect(cookieValue(header, "beta")).toBe(value);
  });

  it.each([
    ["a=1, sluice_preview=t", "t"],
    ["a=1;\tsluice_preview=t", "t"],
    ["a=1 sluice_preview=t", null],
    ["xsluice_preview=t", null],
  ])("sees a preview token in %j where it would take it out, and nowhere else", (header, value) => {
    expect(previewToken(header, false)).toBe(value);
    expect(withoutPreview(header)).toBe(value === null ? header : "a=1");
  });

  it("finds a cookie among any others", () => {
    const name = fc.stringMatching(/^[a-z_]{1,12}$/).filter((text) => text !== "sluice_visitor");
    const value = fc.stringMatching(/^[A-Za-z0-9=+/_-]{0,20}$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value)), fc.nat(), (others, at) => {
        const pairs = others.map(([key, text]) => `${key}=${text}`);
        pairs.splice(at % (pairs.length + 1), 0, "sluice_visitor=0123456789abcdef");
        expect(visitorId(pairs.join("; "), false)).toBe("0123456789abcdef");
      }),
    );
  });

  it("takes a forged, cut or endless visitor id for none", () => {
    for (const value of ["", "short", "a b c d e f g h", "<script>alert(1)</script>", "x".repeat(8_192)]) {
      expect(visitorId(`sluice_visitor=${value}`, false)).toBeNull();
    }
  });

  it("takes over https only what this very hostname has set", () => {
    const planted = "sluice_visitor=0123456789abcdef; sluice_preview=t";
    expect([visitorId(planted, true), previewToken(planted, true)]).toEqual([null, null]);
    const own = "__Host-sluice_visitor=0123456789abcdef; __Host-sluice_preview=t";
    expect([visitorId(own, true), previewToken(own, true)]).toEqual(["0123456789abcdef", "t"]);
    const set = visitorCookie("0123456789abcdef", true);
    expect(set).toMatch(/^__Host-sluice_visitor=0123456789abcdef; Path=\/; /);
    expect(set).toMatch(/; HttpOnly; Secure; SameSite=None; Partitioned$/);
    expect(set).not.toMatch(/domain/i);
  });

  it("takes preview tokens out and leaves the others as they were", () => {
    expect(withoutPreview("a=1; sluice_preview=t; b=2")).toBe("a=1; b=2");
    expect(withoutPreview("__Host-sluice_preview=t; b=2,  c=3")).toBe("b=2,  c=3");
    expect(withoutPreview("a=1,sluice_preview=t; sluice_preview=u")).toBe("a=1");
    expect(withoutPreview("sluice_preview=t")).toBeNull();
  });

  it("leaves no token behind, wherever it stands", () => {
    const pair = fc.constantFrom("sluice_preview=t", "__Host-sluice_preview=t", "a=1", "b=x y", "c", "");
    const delimiter = fc.constantFrom("; ", ";", ", ", ",", ";\t");
    fc.assert(
      fc.property(fc.array(fc.tuple(pair, delimiter), { minLength: 1 }), (parts) => {
        const rest = withoutPreview(parts.flat().join("")) ?? "";
        expect([previewToken(rest, true), previewToken(rest, false)]).toEqual([null, null]);
        const others = parts.map(([text]) => text).filter((text) => text && !text.includes("preview"));
        expect(
          rest
            .split(/[;,]/)
            .map((text) => text.trim())
            .filter(Boolean),
        ).toEqual(others);
      }),
    );
  });
});

describe("preview tokens", () => {
  it("are read as they are written", () => {
    const token = { target: "rel_7", expiresAtS: 1_790_000_000, signature: "A".repeat(43) };
    expect(parsePreviewToken(formatPreviewToken(token))).toEqual(token);
  });

  it("are nothing else", () => {
    for (const text of [
      "",
      "r1",
      "r1.2",
      "r1.2.short",
      `r1.-2.${"A".repeat(43)}`,
      `a.b.2.${"A".repeat(43)}`,
    ]) {
      expect(parsePreviewToken(text)).toBeNull();
    }
  });
});

describe("judging an attempt", () => {
  const answered = (status: number, tunnelError: string | null = null) =>
    verdictOf({ kind: "answered", status, tunnelError });

  it("resends any request that provably reached no app", () => {
    for (const code of ["1033", "1016"]) {
      expect(answered(530, code)).toMatchObject({ error: true, pathFault: true, resend: "any" });
    }
  });

  it("resends only harmless ones when the app may have seen them", () => {
    for (const status of [502, 503, 504, 521, 522, 530]) expect(answered(status).resend).toBe("safe");
    expect(verdictOf({ kind: "disconnected" })).toMatchObject({
      error: true,
      pathFault: false,
      resend: "safe",
    });
  });

  it("tells path faults from app faults", () => {
    for (const status of [520, 522, 527, 530]) expect(answered(status).pathFault).toBe(true);
    for (const status of [500, 501, 502, 503, 504, 505]) expect(answered(status).pathFault).toBe(false);
  });

  it("never resends an app's own answer or what took too long", () => {
    for (const status of [200, 301, 404, 429, 500, 501]) expect(answered(status).resend).toBe("never");
    expect(verdictOf({ kind: "timeout" })).toMatchObject({ error: true, resend: "never" });
  });

  it("counts 5xx as errors and nothing below", () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 599 }), (status) => {
        expect(answered(status).error).toBe(status >= 500);
      }),
    );
  });

  it("calls only methods without effects safe", () => {
    expect(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"].filter(isSafe)).toEqual([
      "GET",
      "HEAD",
      "OPTIONS",
    ]);
  });
});

describe("meter arithmetic", () => {
  it("puts a duration into the bucket that holds it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16_000 }), (ms) => {
        const bucket = latencyBucket(ms);
        expect(2 ** (bucket / 8)).toBeLessThanOrEqual(ms * (1 + 1e-12));
        expect(2 ** ((bucket + 1) / 8)).toBeGreaterThan(ms);
      }),
    );
  });

  it("keeps the shortest and the longest within the histogram", () => {
    expect([0, 0.4, 1, 10 ** 9].map(latencyBucket)).toEqual([0, 0, 0, 111]);
  });

  it("puts all isolates' counts of a moment into the same window", () => {
    expect([20_000, 25_000, 29_999, 30_000].map(windowOf)).toEqual([20_000, 20_000, 20_000, 30_000]);
  });
});
