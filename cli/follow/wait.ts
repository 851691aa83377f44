import { InvalidArgumentError, Option } from "commander";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";

/** How far a command follows a release: to its end, to the first word it needs from a person, or to a share of traffic. */
export type Wait =
  | { readonly kind: "done" | "approval" }
  | { readonly kind: "stage"; readonly weight: number };

export const waitOption = () =>
  new Option(
    "--wait <until>",
    "done; approval: until it waits for a person; stage:N: until it has N % of the traffic",
  )
    .argParser(parseWait)
    .default({ kind: "done" } satisfies Wait, "done");

function parseWait(text: string): Wait {
  if (text === "done" || text === "approval") return { kind: text };
  const weight = Number(/^stage:(\d{1,3}(?:\.\d{1,2})?)%?$/.exec(text)?.[1]);
  if (weight > 0 && weight <= 100) return { kind: "stage", weight };
  throw new InvalidArgumentError("It must be done, approval, or stage:<percent> such as stage:25.");
}

/** It goes no further until somebody approves, promotes or aborts it. */
const needsPerson = ({ state, paused, approval }: ReleaseView): boolean =>
  approval?.waits === true || (state === "shifting" && paused?.until === null);

/** Where to stop following, and since when (epoch ms) it is so; undefined: go on. */
export function stopOf(
  release: ReleaseView,
  wait: Wait,
): { readonly kind: "reached" | "waiting"; readonly at: number } | undefined {
  const since = Date.parse(
    release.paused?.at ?? release.approval?.askedAt ?? release.step?.since ?? release.createdAt,
  );
  if (wait.kind === "stage" && release.state === "shifting" && release.weight >= wait.weight)
    return { kind: "reached", at: since };
  return needsPerson(release) ? { kind: "waiting", at: since } : undefined;
}

/** A pause that was planned is what `approval` waits for; one because the release failed its analysis is not. */
export const isApproval = ({ verdict }: ReleaseView, wait: Wait): boolean =>
  wait.kind === "approval" && verdict?.verdict !== "rollback";
