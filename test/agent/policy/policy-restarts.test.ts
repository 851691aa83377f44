import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect } from "vitest";
import { Policy } from "../../../agent/policy/policy.ts";
import { accessoryName } from "../../../agent/runtime/docker/accessory.ts";
import { containerName } from "../../../agent/runtime/docker/container.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { dockerTest, engine, freePort, theEngine } from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { nodeImage } from "../images.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { answerOf } from "../runtime/runtime.contract.ts";
import { specOf } from "../specs.ts";
import { AS_ON_A_HOST } from "./policy-stage.ts";

/** What was allowed once is asked about again each time the engine is to start it. */
describe.skipIf(!engine)("a container that the rules of this host allowed", () => {
  let base: string;
  let uploads: string;
  let file: string;
  let bench: AgentBench;
  const id = Math.random().toString(36).slice(2, 10);
  const accessory = `shop_production_kv-${id}`;

  const allow = (...directories: string[]) =>
    writeFile(file, `images: ['sha256:*', '**']\nvolumes: { directories: ${JSON.stringify(directories)} }`, {
      mode: 0o600,
    });
  beforeEach(async () => {
    base = await mkdtemp(path.join(AS_ON_A_HOST, "sluice-restarts-"));
    uploads = path.join(base, "srv", "uploads");
    file = path.join(base, "policy.yaml");
    await mkdir(uploads, { recursive: true });
    await allow(uploads);
    const rules = { file: { file, isRequired: true }, runtime: "docker" as const };
    const policy = new Policy({ ...rules, directory: path.join(base, "state") });
    const runtime = createDockerRuntime({
      host: `restarts-${id}`,
      localImages: true,
      admits: (standing) => policy.admits(standing),
    });
    bench = await agentBench({ runtime, policy: rules.file });
  });
  afterEach(async () => {
    await bench.close();
    const path = `/containers/${accessoryName(accessory)}?force=1&v=1`;
    await theEngine()
      .bytes("DELETE", path)
      .catch(() => {}); // only made by some
    await rm(base, { recursive: true, force: true });
  });

  const volumes = () => [{ source: uploads, target: "/data", readOnly: false }];
  async function started(over: Partial<InstanceSpec> = {}): Promise<InstanceSpec> {
    const instance = `${id}-${Math.random().toString(36).slice(2, 6)}`;
    const image = await nodeImage();
    const spec = specOf({
      ...{ instance, image, hostPort: await freePort(), command: nodeCommand("good"), volumes: volumes() },
      ...over,
    });
    bench.control.give({ id: `job-${instance}`, kind: "start", spec });
    expect(await bench.control.result(`job-${instance}`)).toMatchObject({ ok: true });
    return spec;
  }
  const crash = (name: string) => theEngine().bytes("POST", `/containers/${name}/kill`);
  const isRunning = async (name: string) =>
    JSON.parse((await theEngine().bytes("GET", `/containers/${name}/json`)).toString()).State.Running;
  async function refusal(instance: string): Promise<string> {
    const told = () =>
      bench.control.reports.find(
        (one) => one.instance === instance && one.cause?.startsWith("restart failed"),
      );
    await bench.control.until(() => told() !== undefined, "the refused restart is reported");
    return told()?.cause ?? "";
  }

  dockerTest("is not started again on a directory that became a link, and control is told", async () => {
    const spec = await started();
    expect(await answerOf(spec)).toContain(spec.instance);
    await rename(uploads, `${uploads}-before`);
    await symlink("/etc", uploads);
    await crash(containerName(spec.instance));
    expect(await refusal(spec.instance)).toContain(`${uploads} (really /etc)`);
    expect(await isRunning(containerName(spec.instance))).toBe(false);
  });

  dockerTest("runs on when the policy gets stricter, and is not started again, until it may be", async () => {
    const spec = await started();
    await allow();
    expect(await answerOf(spec)).toContain(spec.instance);
    await crash(containerName(spec.instance));
    expect(await refusal(spec.instance)).toContain(`the directory ${uploads} is none of those it allows`);
    expect(await isRunning(containerName(spec.instance))).toBe(false);
    await allow(uploads);
    await expect.poll(() => answerOf(spec).catch(() => "")).toContain(spec.instance);
  });

  dockerTest("keeps others from a directory beneath one that it may write", async () => {
    await allow(path.dirname(uploads));
    await started({ volumes: [{ source: path.dirname(uploads), target: "/data", readOnly: false }] });
    await allow(uploads);
    const spec = specOf({ instance: `${id}-2`, image: await nodeImage(), hostPort: 1, volumes: volumes() });
    bench.control.give({ id: "job-2", kind: "start", spec });
    expect(await bench.control.result("job-2")).toMatchObject({
      ok: false,
      error: { code: "policy_refused", message: expect.stringContaining("could put a link in its place") },
    });
  });

  dockerTest("is not given a directory above one that another has mounted", async () => {
    await started();
    await allow(path.dirname(uploads));
    const above = [{ source: path.dirname(uploads), target: "/data", readOnly: false }];
    const spec = specOf({ instance: `${id}-3`, image: await nodeImage(), hostPort: 1, volumes: above });
    bench.control.give({ id: "job-3", kind: "start", spec });
    expect(await bench.control.result("job-3")).toMatchObject({
      ok: false,
      error: { code: "policy_refused", message: expect.stringContaining(`${uploads} lies beneath`) },
    });
  });

  dockerTest("is not started again as an accessory, whatever the job says of its volumes", async () => {
    const {
      instance: _,
      release,
      version,
      fence,
      slot,
      hostPort,
      containerPort,
      health,
      ...housing
    } = specOf({ instance: "i", image: await nodeImage(), hostPort: 1 });
    const command = ["node", "-e", "setInterval(() => {}, 1000)"];
    const spec = { ...housing, accessory, name: "kv", command, volumes: volumes() };
    bench.control.give({ id: "acc-1", kind: "accessory", action: "start", spec });
    expect(await bench.control.result("acc-1")).toMatchObject({ ok: true });
    bench.control.give({ id: "acc-2", kind: "accessory", action: "stop", spec });
    expect(await bench.control.result("acc-2")).toMatchObject({ ok: true });
    await rename(uploads, `${uploads}-before`);
    await symlink("/etc", uploads);
    bench.control.give({ id: "acc-3", kind: "accessory", action: "start", spec: { ...spec, volumes: [] } });
    expect(await bench.control.result("acc-3")).toMatchObject({
      ok: false,
      error: { code: "policy_refused", message: expect.stringContaining("(really /etc)") },
    });
    expect(await isRunning(accessoryName(accessory))).toBe(false);
  });
});
