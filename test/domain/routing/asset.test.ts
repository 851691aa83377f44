import { describe, expect, it } from "vitest";
import { assetsIn, isAsset, isPage } from "../../../src/domain/routing/asset.ts";

describe("a built asset", () => {
  it.each([
    ["Vite", "/assets/index-BdGyU3Xz.js"],
    ["Vite, a hash of lower case alone", "/assets/a-abcdefgh.css"],
    ["Vite's picture", "/assets/logo-Cx3dEf_h.svg"],
    ["Next with Turbopack", "/_next/static/chunks/40x6taufsd5o8.js"],
    ["Next with webpack", "/_next/static/chunks/app/page-0123456789abcdef.js"],
    ["Next's list", "/_next/static/4y67rT7YuGOOUmRnSil31/_buildManifest.js"],
    ["Nuxt", "/_nuxt/entry.BdGyU3Xz.css"],
    ["SvelteKit, below a path", "/shop/_app/immutable/chunks/Bk3xWz9f.js"],
    ["Astro", "/_astro/hoisted.BdGyU3Xz.js"],
    ["esbuild and Angular", "/chunk-QWERTYUI.js"],
    ["webpack", "/js/app.55e7cbb9ba48.css"],
    ["Create React App", "/static/js/main.ed3d48a7.chunk.js"],
    ["Sprockets", `/assets/application-${"0a".repeat(32)}.js`],
    ["a source map", "/main.ed3d48a7.js.map"],
  ])("is told by its name: %s", (_, path) => {
    expect(isAsset(path, [])).toBe(true);
  });

  it.each([
    "/",
    "/products/42",
    "/products/1a2b3c4d",
    "/index.html",
    "/about-1a2b3c4d.html",
    "/app.js",
    "/my-settings.js",
    "/jquery-3.7.1.min.js",
    "/api/report-20241105.json",
    "/uploads/photo-1a2b3c4d.jpg",
    "/robots.txt",
    `/assets/${"a".repeat(600)}-BdGyU3Xz.js`,
  ])("is none: %s", (path) => {
    expect(isAsset(path, [])).toBe(false);
  });

  it("is what the manifest says, within a folder or across", () => {
    expect(isAsset("/packs/js/x.js", ["/packs/*"])).toBe(false);
    expect(isAsset("/packs/js/x.js", ["/packs/**"])).toBe(true);
    expect(isAsset("/packs/a+b.js", ["/packs/a+b.*"])).toBe(true);
    expect(isAsset("/other/packs/x.js", ["/packs/**"])).toBe(false);
  });

  it("is no page", () => {
    expect([
      isPage("text/html; charset=utf-8"),
      isPage("TEXT/HTML"),
      isPage("text/javascript"),
      isPage(null),
    ]).toEqual([true, true, false, false]);
  });
});

describe("what a file names", () => {
  const names = (text: string, own = "/base/assets/index-BdGyU3Xz.js") => assetsIn(text, own, [], 10);

  it("is found relative to it, to its folder's own, and to the root", () => {
    expect(names('const d=["assets/Lazy-Ab3dEf9h.js"];import("./Other-Ab3dEf9h.js")')).toEqual([
      "/base/assets/Lazy-Ab3dEf9h.js",
      "/base/assets/Other-Ab3dEf9h.js",
    ]);
    expect(names("url(font-Ab3dEf9h.woff2) url(/assets/x-Ab3dEf9h.png?v=1)")).toEqual([
      "/base/assets/font-Ab3dEf9h.woff2",
      "/assets/x-Ab3dEf9h.png",
    ]);
    expect(names('["static/chunks/40x6taufsd5o8.js"]', "/_next/static/chunks/a.js")).toEqual([
      "/_next/static/chunks/40x6taufsd5o8.js",
    ]);
  });

  it("is nobody else's, nor itself, nor without end", () => {
    expect(
      names('"//cdn.test/assets/x-Ab3dEf9h.js" "https://cdn.test/x-Ab3dEf9h.js" "./index-BdGyU3Xz.js"'),
    ).toEqual([]);
    const many = Array.from({ length: 50 }, (_, i) => `"./c-${10_000_000 + i}.js"`).join();
    expect(assetsIn(many, "/assets/i-BdGyU3Xz.js", [], 10)).toHaveLength(10);
  });
});
