import { expect, test } from "vitest";
import { judgePath, type SlotAnswer } from "../../../src/domain/doctor/live.ts";

const answer = (over: Partial<SlotAnswer>): SlotAnswer => ({
  host: "web-1",
  origin: "https://sl-1.example.com",
  status: null,
  error: null,
  body: "",
  stopped: null,
  isShielded: false,
  durationMs: 42,
  ...over,
});

test("cloudflared's 502 for an empty slot proves the whole path", () => {
  expect(judgePath(answer({ status: 502 }))).toMatchObject({
    status: "ok",
    detail: "the path through its tunnel works (an empty slot answered in 42 ms)",
  });
});

test.each<[string, Partial<SlotAnswer>, "warn" | "fail", string]>([
  ["no answer", { error: "timed out" }, "fail", "timed out"],
  ["the shield", { status: 404, isShielded: true }, "fail", "did not take control's proof"],
  [
    "a tunnel without connector",
    { status: 530, body: "error code: 1033" },
    "fail",
    "no cloudflared is connected",
  ],
  ["a record that is gone", { status: 530, body: "error code: 1016" }, "fail", "its DNS record is missing"],
  ["Access", { status: 302, stopped: { by: "access", words: "", fix: "" } }, "fail", "Access refuses"],
  [
    "a challenge",
    { status: 403, stopped: { by: "challenge", words: "a challenge", fix: "" } },
    "fail",
    "a challenge",
  ],
  ["Access, strict", { status: 401 }, "fail", "Access refuses"],
  ["the ingress rules' catch-all", { status: 404 }, "fail", "its ingress rules are older"],
  ["something that listens there", { status: 200 }, "warn", "something listens"],
])("%s is told from all others, with what to do", (_name, over, status, detail) => {
  const check = judgePath(answer(over));
  expect(check).toMatchObject({ status, subject: "web-1", fix: expect.any(String) });
  expect(check.detail).toContain(detail);
});
