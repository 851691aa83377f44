import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { unclearLines } from "../../../cli/io/dotenv.ts";
import { fillManifest } from "../../../cli/io/fill-manifest.ts";
import { readManifest, wholeText } from "../../../cli/io/manifest-file.ts";
import { parseManifest } from "../../../src/protocol/manifest/manifest.ts";

const MANIFEST = `x-common: &common
  REGION: \${REGION:-eu}
app: shop
image: ghcr.io/acme/shop:\${GIT_SHA}
port: 3000
command: [sh, -c, "echo \${HOME}"]
env:
  <<: *common
  PLAIN: a$b
  PRICE: $\${NAME}
  QUOTED: "it's \${WHO}"
  BLOCK: |
    one \${WHO}
    two
environments:
  production: { hostnames: [shop.example.com], env: { OWN: "\${WHO}" } }
`;
const none = { read: () => ({ problem: "there are no files" }) };

const parsed = (text: string) => {
  const result = parseManifest(text);
  return result.ok ? result.manifest : expect.fail(JSON.stringify(result.errors));
};

describe("a manifest with values from outside", () => {
  test("gets them in `env` and `image`, and nowhere else", () => {
    const filled = fillManifest(MANIFEST, { env: { GIT_SHA: "abc", WHO: 'x": [1]\n#' }, ...none });
    expect(filled.lacking).toEqual([]);
    expect(filled.filled).toContain("image");
    const manifest = parsed(filled.text);
    expect(manifest.image).toBe("ghcr.io/acme/shop:abc");
    expect(manifest.command).toEqual(["sh", "-c", "echo \u0024{HOME}"]);
    expect(manifest.env).toEqual({
      REGION: "eu",
      PLAIN: "a$b",
      PRICE: "\u0024{NAME}",
      QUOTED: `it's x": [1]\n#`,
      BLOCK: `one x": [1]\n#\ntwo\n`,
    });
    expect(manifest.environments.production?.env).toEqual({ OWN: 'x": [1]\n#' });
  });

  test("keeps the number of every line", () => {
    const { text } = fillManifest(MANIFEST, { env: { GIT_SHA: "abc", WHO: "a\nb" }, ...none });
    const lineOf = (all: string, word: string) => all.split("\n").findIndex((line) => line.startsWith(word));
    for (const word of ["app:", "port:", "environments:"])
      expect(lineOf(text, word)).toBe(lineOf(MANIFEST, word));
  });

  test("names what is not set, with its line, and takes what is empty for set unless it has a default", () => {
    const { lacking } = fillManifest(MANIFEST, { env: { WHO: "", REGION: "" }, ...none });
    expect(lacking).toMatchObject([
      { pointer: "image", line: 4, detail: expect.stringContaining("GIT_SHA") },
    ]);
  });
});

describe("texts in files beside it", () => {
  const withFiles = (from: string) => `app: shop
image: shop
port: 3000
accessories:
  db:
    image: postgres
    files:
      /etc/a.conf: { from: ${from} }
environments:
  production: { hostnames: [shop.example.com] }
`;
  const folder = async () => {
    const made = await mkdtemp(join(tmpdir(), "sluice-fill-"));
    onTestFinished(() => rm(made, { recursive: true }));
    await writeFile(join(made, "a.conf"), 'key: "value"\n');
    return made;
  };

  test("are sent as they are", async () => {
    const at = await folder();
    await writeFile(join(at, "sluice.yaml"), withFiles("./a.conf"));
    const file = readManifest(join(at, "sluice.yaml"), at, {});
    expect(parsed(wholeText(file)).accessories.db?.files).toEqual({ "/etc/a.conf": 'key: "value"\n' });
  });

  test.each([["../../etc/passwd"], ["link"], ["missing"]])("are never read from %s", async (from) => {
    const at = await folder();
    await symlink("/etc/passwd", join(at, "link"));
    await writeFile(join(at, "sluice.yaml"), withFiles(from));
    const file = readManifest(join(at, "sluice.yaml"), at, {});
    expect(file.text).not.toContain("root:");
    expect(() => wholeText(file)).toThrow("one thing is wrong");
  });
});

test("a dotenv file that can be read in two ways is refused by line, without the value", () => {
  const text = `A=plain # comment
B='abc#123'
C=abc#123
D="a \\"b\\" c"
E="one
two # three"
F='x' y
export G="fine" # yes`;
  const unclear = unclearLines(text);
  expect(unclear.map((line) => line.trim().split(":")[0])).toEqual(["line 3", "line 4", "line 7"]);
  expect(unclear.join()).not.toContain("123");
});
