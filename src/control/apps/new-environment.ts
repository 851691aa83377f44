import type { EnvironmentSpec } from "../../domain/spec.ts";
import { newId, randomHex } from "../ids.ts";
import type { EnvironmentRow } from "../store/apps.ts";

/** An environment in which nothing has happened yet. */
export function newEnvironment(appId: string, spec: EnvironmentSpec, now: number): EnvironmentRow {
  const id = newId("env", now);
  return {
    id,
    appId,
    name: spec.environment,
    spec,
    rev: 1,
    fence: 0,
    stableReleaseId: null,
    schedules: null,
    salt: id,
    previewKey: randomHex(32),
    mode: { kind: "open" },
    held: null,
    ending: null,
    nextVersion: 1,
    createdAt: now,
    deletedAt: null,
  };
}
