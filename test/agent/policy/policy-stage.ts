import { mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";
import { Policy } from "../../../agent/policy/policy.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { type Job, jobSchema } from "../../../src/protocol/agent/jobs.ts";
import { specOf } from "../specs.ts";

/** A host with a policy file, for the tests about policies: a folder of its own for each. */
export const digest = `sha256:${"a".repeat(64)}`;
export const image = `ghcr.io/acme/shop@${digest}`;
export const plain = { readOnly: false, tmpfs: [], ulimits: {} };

/** Not the tests' own folder: in memory it lies under /dev, of which no host mounts anything. */
export const AS_ON_A_HOST = "/tmp";

export let base: string;
export let file: string;

/** For the file that calls it. */
export function usePolicyFolders(): void {
  beforeEach(async () => {
    base = await mkdtemp(path.join(AS_ON_A_HOST, "sluice-policy-"));
    file = path.join(base, "policy.yaml");
  });
  afterEach(() => rm(base, { recursive: true, force: true }));
}

export const policyOf = (over: Partial<ConstructorParameters<typeof Policy>[0]> = {}) =>
  new Policy({
    file: { file, isRequired: false },
    runtime: "docker",
    directory: path.join(base, "state"),
    ...over,
  });
export const write = (lines: string) => writeFile(file, lines, { mode: 0o644 });

export const usual = {
  id: "job-1",
  lease: "l",
  environmentId: "env-1",
  fence: 1,
  deadlineAt: 1,
  leaseExpiresAt: 1,
};
export const pullOf = (of: string): Job => jobSchema.parse({ ...usual, kind: "pull", image: of });
export function startOf(over: Partial<InstanceSpec> = {}): Job {
  const spec = specOf({ instance: "ins-1", image, hostPort: 20_000, ...over });
  return jobSchema.parse({ ...usual, kind: "start", spec });
}
export const mount = (source: string) => ({ volumes: [{ source, target: "/data", readOnly: true }] });

/** The refusal's words, or "allowed". */
export async function verdict(job: Job, policy = policyOf(), instances: string[] = []): Promise<string> {
  const refused = await policy.check(job, new Set(instances));
  if (!refused) return "allowed";
  if (refused.ok || refused.error.code !== "policy_refused") throw new Error(JSON.stringify(refused));
  return refused.error.message;
}

/** A container of `images` as it stands there, with a folder of the host's mounted. */
export const standing = (source: string, images: [string, ...string[]] = [image]) => {
  const { volumes, container, resources } = specOf({ instance: "i", image, hostPort: 1, ...mount(source) });
  return { what: "container x", images, container: { volumes, container, resources } };
};
