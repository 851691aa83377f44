import { expect, test } from "vitest";
import { type PromotionSource, promotedImage } from "../../../src/domain/commands/promotion.ts";

const IMAGE = `ghcr.io/acme/shop@sha256:${"a".repeat(64)}`;
const live = { id: "rel_7", version: "v7", state: "live", weightBp: 10_000, pinnedImage: IMAGE } as const;
const source: PromotionSource = { environment: "staging", replicas: 3, live, ready: 2 };

test("what is promoted is the digest that serves, whether its release was named by id or label", () => {
  const promoted = {
    ok: true,
    value: { image: IMAGE, origin: { environment: "staging", release: "rel_7", version: "v7" } },
  };
  for (const seen of ["rel_7", "v7"]) expect(promotedImage(source, seen)).toEqual(promoted);
});

test.each<[string, Partial<PromotionSource>, string, string]>([
  ["another release serves there by now", {}, "v6", "precondition_failed"],
  ["nothing ever served there", { live: undefined }, "v7", "release_not_serving"],
  ["a canary has part of its traffic", { live: { ...live, weightBp: 9_000 } }, "v7", "release_not_serving"],
  ["it is being taken back", { live: { ...live, state: "rolling_back" } }, "v7", "release_not_serving"],
  ["less than half of it is ready", { ready: 1 }, "v7", "release_not_serving"],
  ["none of it is ready", { replicas: 0, ready: 0 }, "v7", "release_not_serving"],
])("refused when %s", (_why, over, seen, code) => {
  expect(promotedImage({ ...source, ...over }, seen)).toMatchObject({ ok: false, error: { code } });
});
