import { expect, test } from "vitest";
import { imageSchema, versionSchema } from "../../src/protocol/api/releases.ts";

const complaint = (schema: typeof imageSchema | typeof versionSchema, value: string) => {
  const parsed = schema.safeParse(value);
  return parsed.success ? undefined : parsed.error.issues[0]?.message;
};

test.each([
  ["Ghcr.io/x/Shop:V1", "write `ghcr.io/x/shop:V1`"],
  ["x:latest ", "write `x:latest`"],
  ["", "is empty"],
  ["a b", "must be an image such as"],
])("the image %j is refused before anything is made: %s", (image, words) => {
  expect(complaint(imageSchema, image)).toContain(words);
});

test.each([
  "ghcr.io/x/shop:V1",
  "localhost:5000/a/b_c",
  `r@sha256:${"a".repeat(64)}`,
  "file:apps/x",
  "Ghcr.io/x/y",
])("the image %s is taken", (image) => {
  expect(complaint(imageSchema, image)).toBeUndefined();
});

test("a label that isn't one is answered with one that is", () => {
  expect(complaint(versionSchema, "feature/login")).toContain("write `feature-login`");
  expect(complaint(versionSchema, "-x-")).toContain("write `x`");
  expect(complaint(versionSchema, "1.4.2_rc-1")).toBeUndefined();
});
