import { chmod, chown, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { freePort } from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { answerOf } from "../runtime/runtime.contract.ts";
import { runOf, specOf } from "../specs.ts";
import {
  base,
  file,
  image,
  plain,
  policyOf,
  pullOf,
  startOf,
  usePolicyFolders,
  verdict,
  write,
} from "./policy-stage.ts";

usePolicyFolders();

describe("a policy file", () => {
  test("may be the one that docs/hosts.md shows", async () => {
    const page = await readFile(path.join(import.meta.dirname, "../../../docs/hosts.md"), "utf8");
    const [, shown = ""] = /```yaml\n(images:[\s\S]*?)```/.exec(page) ?? [];
    await write(shown);
    const resources = { cpus: 2, memoryBytes: 1 << 30 };
    const container = { ...plain, capabilities: ["CHOWN", "NET_BIND_SERVICE"] };
    expect(await verdict(startOf({ resources, container }))).toBe("allowed");
    expect(await verdict(startOf({ container }))).toContain("resources.cpus must be set");
  });

  test.each([
    ["images: [", /line 1: Flow sequence/],
    ["", /`images` is missing/],
    ["image: [ghcr.io/acme/*]", /line 1: `image` is not a key of the policy: did you mean `images`\?/],
    ["images: []\n\nvolume: { named: false }", /line 3: `volume` .* did you mean `volumes`/],
    ["images: ghcr.io/acme/*", /line 1: `images` must list the images/],
    ["images: []\nlimits: { memory: 12 }", /line 2: `limits.memory` must be a size such as 512m/],
    ["images: []\nlimits:\n  cpu: 1", /line 3: `limits.cpu` .* did you mean `cpus`/],
    ["images: []\nvolumes: { directories: [srv] }", /line 2: .*must be an absolute path/],
    ["images: []\nvolumes:\n  directories:\n    - '/*'", /line 4: .*must name at least the first directory/],
    ["images: []\nvolumes: { directories: ['/srv/**'] }", /must not contain `\*\*`/],
    ["images: []\nimages: ['**']", /line 2: the key `images` stands twice/],
    ["images: []\n---\nimages: ['**']", /line 2: `---` begins a second document/],
    ["images: []\nhooks: no-thanks", /line 2: `hooks` must be boolean/],
    ["images: &all ['**']\nlimits: *all", /line 2/],
    ["images: []\n\tnetworks: false", /line 2: /],
    ["null", /`images` is missing/],
    ["[]", /the policy must be a map/],
  ])("that reads %j refuses every job, and says the line", async (text, problem) => {
    await write(text);
    const said = await verdict(pullOf(image));
    expect(said).toContain(`policy ${file} can't be gone by`);
    expect(said).toMatch(problem);
  });

  test.each(["policy.yml", "policy.json", "Policy.yaml", "policies.yaml"])(
    "that was saved as %s is never taken for none",
    async (name) => {
      await writeFile(path.join(base, name), "images: []");
      expect(await verdict(pullOf(image))).toContain(
        `${path.join(base, name)} is: rename that to policy.yaml`,
      );
    },
  );

  test("that is a link to nothing, or lies in one, is never taken for none", async () => {
    await symlink(path.join(base, "gone.yaml"), file);
    expect(await verdict(pullOf(image))).toContain(`${file} is a link to nothing`);
    await symlink(path.join(base, "gone"), path.join(base, "etc"));
    const within = { file: path.join(base, "etc", "policy.yaml"), isRequired: false };
    expect(await verdict(pullOf(image), policyOf({ file: within }))).toContain("is a link to nothing");
    const below = { file: path.join(file, "policy.yaml"), isRequired: false };
    await rm(file);
    await write("images: []");
    expect(await verdict(pullOf(image), policyOf({ file: below }))).toContain("ENOTDIR");
  });

  test("that others can change refuses every job until they can't", async () => {
    await write("images: [ghcr.io/acme/*]");
    const policy = policyOf();
    expect(await verdict(pullOf(image), policy)).toBe("allowed");
    await chmod(file, 0o666);
    expect(await verdict(pullOf(image), policy)).toContain(`chmod go-w ${file}`);
    await chmod(file, 0o644);
    expect(await verdict(pullOf(image), policy)).toBe("allowed");
    await chmod(base, 0o777);
    expect(await verdict(pullOf(image), policy)).toContain(`chmod go-w ${base}`);
  });

  test.runIf(process.getuid?.() === 0)("of somebody else refuses every job", async () => {
    await write("images: [ghcr.io/acme/*]");
    await chown(file, 65_534, 65_534);
    expect(await verdict(pullOf(image))).toContain(`${file} belongs to user 65534`);
  });

  test("is read anew when it changes, is made, or goes", async () => {
    const policy = policyOf();
    expect(await verdict(pullOf(image), policy)).toBe("allowed");
    await write("images: []");
    expect(await verdict(pullOf(image), policy)).toContain("is none of those it allows (none)");
    await write("images: [ghcr.io/acme/*]");
    expect(await verdict(pullOf(image), policy)).toBe("allowed");
    await write("images: {");
    expect(await verdict(pullOf(image), policy)).toContain("can't be gone by");
    await rm(file);
    expect(await verdict(pullOf(image), policy)).toBe("allowed");
  });

  test("that was named and is missing refuses every job", async () => {
    const policy = policyOf({ file: { file, isRequired: true } });
    expect(await verdict(pullOf(image), policy)).toContain("ENOENT");
  });

  test("tells its rules in short", async () => {
    await write("images: [ghcr.io/acme/*]\nvolumes: { directories: [/srv/shop/*] }");
    expect(await policyOf().summary()).toEqual({
      file,
      images: ["ghcr.io/acme/*"],
      volumes: ["named volumes", "/srv/shop/*"],
    });
    await write("images: [");
    expect(await policyOf().summary()).toEqual({ file, images: [], volumes: [] });
  });
});

describe("an agent with a policy", () => {
  let bench: AgentBench;
  beforeEach(async () => {
    await write("images: []\nhooks: false\nlimits: { instances: 1 }");
    bench = await agentBench({ policy: { file, isRequired: true } });
  });
  afterEach(async () => {
    const { invalid } = bench.control;
    await bench.close();
    expect(invalid).toEqual([]);
  });

  test("begins nothing that it refuses, and leaves what runs alone when the file breaks", async () => {
    const spec = specOf({
      instance: "ins-1",
      image: "file:app",
      hostPort: await freePort(),
      command: nodeCommand("good"),
    });
    bench.control.give({ id: "job-1", kind: "start", spec });
    expect(await bench.control.result("job-1")).toMatchObject({ ok: true });

    bench.control.give({ id: "job-2", kind: "start", spec: { ...spec, instance: "ins-2" } });
    const run = runOf({ run: "run-1", image: "file:app", command: ["true"] });
    bench.control.give({ id: "job-3", kind: "run", ...run });
    for (const id of ["job-2", "job-3"])
      expect(await bench.control.result(id)).toMatchObject({ ok: false, error: { code: "policy_refused" } });
    expect(await bench.runtime.runs.find("run-1")).toEqual({ ok: true, value: "none" });

    await write("images: {");
    bench.control.give({ id: "job-4", kind: "pull", image: "file:app" });
    expect(await bench.control.result("job-4")).toMatchObject({
      ok: false,
      error: { code: "policy_refused" },
    });
    expect(await answerOf(spec)).toContain("ins-1");
    bench.control.give({ id: "job-5", kind: "stop", instance: "ins-1", graceMs: 1_000 });
    expect(await bench.control.result("job-5")).toMatchObject({ ok: true });
  });

  test("tells how a hook ended that began before the rules changed", async () => {
    await write("images: []");
    const command = ["sh", "-c", "until [ -e go ]; do sleep 0.05; done; echo done"];
    const run = runOf({ run: "run-2", image: "file:app", command });
    bench.control.give({ id: "job-6", kind: "run", ...run });
    await expect.poll(() => bench.runtime.runs.find("run-2")).toEqual({ ok: true, value: "begun" });
    await write("images: []\nhooks: false");
    await bench.stop();
    bench.start();
    bench.control.give({ id: "job-6", kind: "run", ...run });
    await writeFile(path.join(bench.directory, "root", "app", "go"), "");
    expect(await bench.control.result("job-6")).toMatchObject({ ok: true, result: { logs: ["done"] } });
  });

  test("counts instances that are just being started", async () => {
    await write("images: []\nlimits: { instances: 1 }");
    const specs = [1, 2, 3].map(async (n) =>
      specOf({
        instance: `ins-${n}`,
        image: "file:app",
        hostPort: await freePort(),
        command: nodeCommand("good"),
      }),
    );
    for (const spec of await Promise.all(specs))
      bench.control.give({ id: `job-${spec.instance}`, kind: "start", spec });
    const results = await Promise.all([1, 2, 3].map((n) => bench.control.result(`job-ins-${n}`)));
    expect(results.filter(({ ok }) => ok)).toHaveLength(1);
    expect(JSON.stringify(results)).toContain("(limits.instances)");
  });
});
