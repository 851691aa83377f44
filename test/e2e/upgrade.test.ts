import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDockerRuntime } from "../../agent/runtime/docker/docker.ts";
import { helloImage, removeImages } from "../../local/images.ts";
import { freePorts } from "../../local/ports.ts";
import { noted, standInProgram, tokenOf } from "../agent/cloudflared/cloudflared-stand-in.ts";
import { engine, hasRegistry, type Registry, startRegistry, theEngine } from "../support/engine/docker.ts";
import { FakeSystemd } from "../support/services/fake-systemd.ts";
import { Installation } from "../support/stack/installation.ts";

/**
 * A host as a user makes it: the line that `sluice hosts enroll` prints, run by sh against a real control; an app from a
 * registry, visitors, and then the same line again.
 */
const SLOTS = 6;
const SOON = { timeout: 90_000 };
const OLDER = "0.0.1-older";
const TAG = `sluice-upgrade-${process.pid}:v1`;
const isPossible = engine !== undefined && hasRegistry;

let root: string;
let sluice: Installation;
let systemd: FakeSystemd;
let registry: Registry;
let environment: Record<string, string>;

beforeAll(async () => {
  if (!isPossible) return;
  root = await mkdtemp(path.join(tmpdir(), "sluice-upgrade-"));
  systemd = await FakeSystemd.install(root);
  registry = await startRegistry();
  await registry.push(await helloImage(theEngine(), { tag: TAG }), "hello:v1");
  sluice = await Installation.start({ hosts: 0 });
  environment = {
    PATH: [systemd.bin, path.dirname(process.execPath), "/usr/bin", "/bin"].join(":"),
    SLUICE_ROOT: root,
    SLUICE_PORT_BASE: String(await freePorts(SLOTS)),
  };
});

afterAll(async () => {
  if (!isPossible) return;
  await systemd?.stop();
  for (const { pid } of await noted(root)) process.kill(pid, "SIGKILL");
  const runtime = await hostRuntime().catch(() => undefined); // never enrolled
  const listed = await runtime?.list();
  for (const { instance } of listed?.ok ? listed.value : []) await runtime?.stop(instance, 0);
  await sluice?.close();
  await registry?.close();
  await removeImages(theEngine(), [TAG]);
  await rm(root, { recursive: true, force: true });
});

const state = (file: string) => path.join(root, "var/lib/sluice", file);
async function hostRuntime() {
  const { host } = JSON.parse(await readFile(state("credentials.json"), "utf8"));
  return createDockerRuntime({ host: host.id });
}
const sh = (line: string) =>
  promisify(execFile)("/bin/sh", ["-c", line], { env: environment }).then(
    ({ stdout, stderr }) => stdout + stderr,
  );
const agentVersion = async () => (await sluice.client.hosts.get("web-1")).agentVersion;
const containers = async () => {
  const listed = await (await hostRuntime()).list();
  return listed.ok ? listed.value.map(({ runtimeId, running }) => `${runtimeId} ${running}`).sort() : [];
};

test.skipIf(!isPossible)(
  "a host is installed by one line, and upgraded by the same line without a failed request",
  async () => {
    const app = { image: `${registry.address}/hello:v1`, replicas: 2 };
    const enrol = ["hosts", "enroll", "web-1", "--labels", "tier=web", "--slots", String(SLOTS)];
    const made = await sluice.sluice("hello", app, [...enrol, "--origin-base", "http://127.0.0.1"]);
    expect(made.code, made.stderr).toBe(0);
    const line = made.stdout.trim();
    const [, sha256 = "none"] = /SHA-256 ([0-9a-f]{64})/.exec(made.stderr) ?? [];
    expect(await sh(line)).toContain(`the agent runs (sha256 ${sha256})`);
    await expect.poll(async () => (await sluice.client.hosts.get("web-1")).state, SOON).toBe("online");
    const { facts, labels, slots } = await sluice.client.hosts.get("web-1");
    expect({ labels, total: slots.total }).toEqual({ labels: { tier: "web" }, total: SLOTS });
    expect(facts?.engine?.version).toMatch(/^\d+\./);

    // As if installed long ago: another version, and a tunnel that control once made.
    const bundle = path.join(root, "opt/sluice/agent.mjs");
    const current = await agentVersion();
    const code = await readFile(bundle, "utf8");
    await writeFile(bundle, code.replaceAll(`"${current}"`, `"${OLDER}"`));
    const program = await standInProgram(systemd.bin);
    expect(program).toBe(path.join(systemd.bin, "cloudflared"));
    const token = tokenOf({ name: "a", directory: root });
    const { host } = JSON.parse(await readFile(state("credentials.json"), "utf8"));
    await writeFile(
      state("tunnel.json"),
      JSON.stringify({ host: host.id, rev: 1, tunnelId: "t", token, configVersion: 1 }),
    );
    await sh("systemctl restart sluice-agent.service");
    await expect.poll(agentVersion, SOON).toBe(OLDER);
    await expect.poll(async () => (await noted(root)).map(({ event }) => event), SOON).toEqual(["started"]);
    await sluice.deploy("hello", app, "v1");
    const before = await containers();
    expect(before).toHaveLength(2);

    const visitors = sluice.visit("hello");
    await expect.poll(() => visitors.counts("there").requests, SOON).toBeGreaterThan(60);
    expect(await sh(line)).toContain("enrolled already");
    await expect.poll(agentVersion, SOON).toBe(current);
    const upgraded = visitors.counts("there").requests;
    await expect.poll(() => visitors.counts("there").requests, SOON).toBeGreaterThan(upgraded + 60);

    expect(visitors.counts("there")).toMatchObject({ failed: 0, failures: [] });
    expect(await containers()).toEqual(before);
    expect((await noted(root)).map(({ event }) => event)).toEqual(["started"]);
    await expect
      .poll(async () => (await sluice.client.hosts.get("web-1")).facts?.tunnel?.state, SOON)
      .toBe("connected");
    const { instances } = await sluice.client.hosts.get("web-1");
    expect(instances.map(({ ready }) => ready)).toEqual([true, true]);
  },
  120_000,
);
