import { execFile } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Policy } from "../../agent/policy/policy.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import { type Job, jobSchema } from "../../src/protocol/agent/jobs.ts";
import { freePort } from "../support/docker.ts";
import { nodeCommand } from "./apps.ts";
import { type AgentBench, agentBench } from "./running-agent.ts";
import { answerOf } from "./runtime/runtime.contract.ts";
import { runOf, specOf } from "./specs.ts";

const digest = `sha256:${"a".repeat(64)}`;
const image = `ghcr.io/acme/shop@${digest}`;
const plain = { readOnly: false, tmpfs: [], ulimits: {} };

let base: string;
let file: string;
beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), "sluice-policy-"));
  file = path.join(base, "policy.yaml");
});
afterEach(() => rm(base, { recursive: true, force: true }));

const policyOf = (over: Partial<ConstructorParameters<typeof Policy>[0]> = {}) =>
  new Policy({
    file: { file, isRequired: false },
    runtime: "docker",
    directory: path.join(base, "state"),
    ...over,
  });
const write = (lines: string) => writeFile(file, lines, { mode: 0o644 });

const usual = { id: "job-1", lease: "l", environmentId: "env-1", fence: 1, deadlineAt: 1, leaseExpiresAt: 1 };
const pullOf = (of: string): Job => jobSchema.parse({ ...usual, kind: "pull", image: of });
function startOf(over: Partial<InstanceSpec> = {}): Job {
  const spec = specOf({ instance: "ins-1", image, hostPort: 20_000, ...over });
  return jobSchema.parse({ ...usual, kind: "start", spec });
}
const mount = (source: string) => ({ volumes: [{ source, target: "/data", readOnly: true }] });

/** The refusal's words, or "allowed". */
async function verdict(job: Job, policy = policyOf(), instances: string[] = []): Promise<string> {
  const refused = await policy.check(job, new Set(instances));
  if (!refused) return "allowed";
  if (refused.ok || refused.error.code !== "policy_refused") throw new Error(JSON.stringify(refused));
  return refused.error.message;
}

describe("without a policy", () => {
  test("a host runs any image, with any walls that are possible", async () => {
    const wide = { container: { ...plain, capabilities: ["NET_ADMIN"] }, network: "sluice-shop-production" };
    expect(await verdict(startOf({ ...wide, ...mount("sluice-shop-production-uploads") }))).toBe("allowed");
    expect(await verdict(startOf(), policyOf({ file: undefined }))).toBe("allowed");
    expect(await policyOf().summary()).toBeUndefined();
  });

  test("a host mounts none of its directories, not even one that is there and holds nothing", async () => {
    const srv = path.join(base, "srv");
    await mkdir(srv);
    const said = `this host has no policy file, and without one no host directory is mounted: ${srv}`;
    const hook = runOf({ run: "r", image, command: ["true"], ...mount(srv) });
    for (const policy of [policyOf(), policyOf({ file: undefined })]) {
      expect(await verdict(startOf(mount(srv)), policy)).toContain(said);
      expect(await verdict(jobSchema.parse({ ...usual, kind: "run", ...hook }), policy)).toContain(said);
      for (const action of ["start", "upgrade"])
        expect(await verdict(accessoryOf(action, mount(srv)), policy)).toContain(said);
      expect(await policy.admits(standing(srv))).toContain(said);
    }
  });
});

const standing = (source: string, images: [string, ...string[]] = [image]) => {
  const { volumes, container, resources } = specOf({ instance: "i", image, hostPort: 1, ...mount(source) });
  return { what: "container x", images, container: { volumes, container, resources } };
};

describe.each(["without a policy", "with one that allows it"])("%s, no host", (when) => {
  beforeEach(async () => {
    if (when === "without a policy") return;
    await write("images: ['**']\nvolumes: { directories: [/e*, /p*, /r*, /v*, /s*, /d*, /home/*] }");
  });
  const refused = async (over: Partial<InstanceSpec>) => verdict(startOf(over));

  test.each([
    "/",
    "/etc",
    "/etc/passwd",
    "/etc/",
    "//etc",
    "/./etc",
    "/proc",
    "/proc/1/root",
    "/sys",
    "/dev",
    "/root/.ssh",
    "/var",
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/var/lib/docker",
    "/usr/local/bin",
    "/home",
    "/home/ann",
    "/home/ann/.ssh",
    "/data/ann/.ssh/keys",
  ])("mounts %s", async (source) => {
    expect(await refused(mount(source))).toMatch(/^no host runs this: the directory /);
  });

  test("mounts a way out of a directory, by dots or by a link", async () => {
    expect(await refused(mount("/srv/../etc"))).toContain("contains `..`");
    await symlink("/etc", path.join(base, "link"));
    expect(await refused(mount(path.join(base, "link")))).toContain("(really /etc)");
    expect(await refused(mount(path.join(base, "link", "cron.d")))).toContain("(really /etc/cron.d)");
    // What isn't there yet is judged by where it would be.
    expect(await refused(mount(path.join(base, "link", "no-such", "deeper")))).toContain(
      "/etc/no-such/deeper",
    );
  });

  test("mounts a socket, wherever it lies, or the agent's own files", async () => {
    const socket = path.join(base, "engine.sock");
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    expect(await refused(mount(socket))).toContain("is a socket or a device");
    server.close();
    expect(await refused(mount(path.join(base, "state")))).toContain("the app would own the host");
    expect(await refused(mount(base))).toContain(path.join(base, "state"));
    expect(await refused(mount(file))).toContain("the app would own the host");
    await mkdir(path.join(base, "real-state"));
    await symlink(path.join(base, "real-state"), path.join(base, "state"));
    expect(await refused(mount(path.join(base, "real-state")))).toContain("the app would own the host");
  });

  test("mounts the agent's own program, the Node that runs it, or what holds one of them", async () => {
    const program = path.resolve(import.meta.dirname, "../..");
    const places = [program, path.join(program, "agent/policy"), path.dirname(program)];
    for (const place of [...places, path.dirname(process.execPath), process.execPath])
      expect(await refused(mount(place))).toMatch(/the app would own the host|is, or holds/);
  });

  test("mounts the engine's data, wherever the engine keeps it, or what holds it", async () => {
    const root = path.join(base, "disk", "docker");
    await mkdir(path.join(root, "volumes"), { recursive: true });
    const policy = policyOf({ engineRoot: async () => root });
    for (const place of [root, path.join(root, "volumes"), path.dirname(root)])
      expect(await verdict(startOf(mount(place)), policy)).toContain(`is, or holds, ${root}`);
    const away = policyOf({
      engineRoot: async () => {
        throw new Error("the engine is away");
      },
    });
    expect(await away.check(startOf(mount(path.join(base, "disk"))), new Set())).toMatchObject({
      error: { code: "runtime_unavailable" },
    });
    expect(await verdict(startOf(), away)).toBe("allowed");
  });

  test("mounts a path that leads through a link anywhere, or isn't written as it is", async () => {
    const shop = path.join(base, "disk", "shop");
    await mkdir(path.join(shop, "uploads"), { recursive: true });
    await symlink(path.join(base, "disk"), path.join(base, "middle"));
    await symlink(path.join(shop, "uploads"), path.join(shop, "last"));
    await symlink("..", path.join(shop, "uploads", "up"));
    for (const place of ["middle/shop/uploads", "disk/shop/last", "disk/shop/uploads/up/uploads"])
      expect(await refused(mount(path.join(base, place)))).toContain(
        `(really ${path.join(shop, "uploads")}) is not written as it really is: links are not followed`,
      );
    for (const place of [`${shop}/`, `/${shop}`, `${shop}//uploads`, `${shop}/./uploads`])
      expect(await refused(mount(place))).toContain("is not written as it really is");
  });

  test.each(["ALL", "SYS_ADMIN", "SYS_MODULE", "DAC_READ_SEARCH"])(
    "gives the capability %s",
    async (name) => {
      expect(await refused({ container: { ...plain, capabilities: [name] } })).toContain(name);
    },
  );

  test.each(["host", "none", "bridge", "container:abc", "default", "other_default", "sluice-"])(
    "joins network %s",
    async (network) => {
      expect(await refused({ network })).toContain(`network ${network} is none of Sluice's own`);
    },
  );

  test("opens the volume that an agent in a container keeps its credentials in", async () => {
    expect(await refused(mount("sluice-agent"))).toContain("volume sluice-agent holds the agent's own");
    await expect(refused(mount("sluice-agent-production-data"))).resolves.not.toContain("credentials");
  });

  test("opens another program's volume", async () => {
    expect(await refused(mount("postgres_data"))).toContain("volume postgres_data is none of Sluice's own");
  });

  test("does any of it for a hook or an accessory either", async () => {
    const hook = runOf({ run: "r", image, command: ["true"], ...mount("/etc") });
    expect(await verdict(jobSchema.parse({ ...usual, kind: "run", ...hook }))).toContain("/etc");
    expect(await verdict(accessoryOf("start", mount("/etc")))).toContain("/etc");
    expect(await verdict(accessoryOf("upgrade", mount("/etc")))).toContain("/etc");
  });
});

function accessoryOf(action: string, over: object = {}): Job {
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
  } = specOf({
    instance: "i",
    image,
    hostPort: 1,
  });
  const spec = { ...housing, accessory: "shop-production-db", name: "db", ...over };
  return jobSchema.parse({ ...usual, kind: "accessory", action, spec });
}

describe("allowed images", () => {
  test.each([
    ["ghcr.io/acme/*", `ghcr.io/acme/shop@${digest}`],
    ["ghcr.io/acme/*", "ghcr.io/acme/shop:v1"],
    ["ghcr.io/acme/*", `ghcr.io/acme/shop:v1@${digest}`],
    ["ghcr.io/acme/**", "ghcr.io/acme/team/shop:v1"],
    ["ghcr.io/acme/shop", "ghcr.io/acme/shop:v1"],
    ["GHCR.io/acme/*", "ghcr.io/acme/shop:v1"],
    ["127.0.0.1:5000/*", "127.0.0.1:5000/shop:v1"],
    ["nginx", "nginx:1"],
    ["nginx", "docker.io/nginx:1"],
    ["docker.io/library/nginx", "nginx"],
    ["nginx", "index.docker.io/library/nginx"],
    ["acme/*", "docker.io/acme/shop:v1"],
    ["docker.io/acme/*", "acme/shop:v1"],
    ["**", "anything.example.com/at/all:v1"],
    ["sha256:*", digest],
  ])("%s lets %s in", async (pattern, of) => {
    await write(`images: ["${pattern}"]`);
    expect(await verdict(pullOf(of))).toBe("allowed");
    expect(await verdict(startOf({ image: of }))).toBe("allowed");
  });

  test.each([
    ["ghcr.io/acme/*", "ghcr.io/acme-evil/x:v1"],
    ["ghcr.io/acme/*", "ghcr.io/acme/team/x:v1"],
    ["ghcr.io/acme/*", "ghcr.io/acme"],
    ["ghcr.io/acme/*", "evil.com/ghcr.io/acme/x:v1"],
    ["ghcr.io/acme/*", "ghcr.io.evil.com/acme/x:v1"],
    ["ghcr.io/acme/*", "ghcr.io:443/acme/x:v1"],
    ["ghcr.io/acme/*", "acme/x:v1"],
    ["ghcr.io/acme/*", digest],
    ["ghcr.io/acme/**", "ghcr.io/acme/../evil/x:v1"],
    ["ghcr.io/acme/**", "ghcr.io/acme/./x:v1"],
    ["ghcr.io/acme/**", "ghcr.io/acme//x:v1"],
    ["ghcr.io/acme/*", "ghcrXio/acme/x:v1"],
    ["ghcr.io/acme/shop", "ghcr.io/acme/shopper:v1"],
    ["ghcr.io/acme/*", `ghcr.io/acme-evil/x:v1@${digest}`],
    ["nginx", "acme/nginx"],
    ["nginx", "evil.com/nginx"],
    ["nginx", "localhost/nginx"],
    ["acme/*", "ghcr.io/acme/shop"],
    ["docker.io/acme/*", "docker.io.evil.com/acme/x"],
    ["**", digest],
    ["sha256:*", "nginx"],
  ])("%s keeps %s out", async (pattern, of) => {
    await write(`images: ["${pattern}"]`);
    expect(await verdict(pullOf(of))).toContain("is none of those it allows");
  });

  test.each([
    ["ghcr.io/acme/shop:v1", "names a tag"],
    [`ghcr.io/acme/shop@${digest}`, "no image pattern"],
    ["*.io/acme/*", "a wildcard in the registry"],
    ["ghcr.io/acme/", "no image pattern"],
  ])("%s is no pattern, so that nobody relies on it", async (pattern, problem) => {
    await write(`images: ["${pattern}"]`);
    expect(await verdict(pullOf(image))).toContain(problem);
  });
});

describe("allowed directories", () => {
  let srv: string;
  beforeEach(async () => {
    srv = path.join(base, "srv");
    await mkdir(path.join(srv, "shop", "uploads"), { recursive: true });
    await mkdir(path.join(srv, "other"));
    await write(`images: [ghcr.io/acme/*]\nvolumes: { directories: ["${srv}/shop/*"] }`);
  });
  const under = (...names: string[]) => verdict(startOf(mount(path.join(srv, ...names))));

  test("are those that a pattern names, and no others", async () => {
    expect(await under("shop", "uploads")).toBe("allowed");
    expect(await under("shop")).toContain("is none of those it allows");
    await mkdir(path.join(srv, "shop", "uploads", "deeper"));
    expect(await under("shop", "uploads", "deeper")).toContain("is none of those it allows");
    expect(await under("other")).toContain("is none of those it allows");
    expect(await under()).toContain("is none of those it allows");
    expect(await verdict(startOf(mount(`${srv}/shop/../other`)))).toContain("contains `..`");
  });

  test("are left by no link", async () => {
    await symlink(path.join(srv, "other"), path.join(srv, "shop", "escape"));
    expect(await under("shop", "escape")).toContain(`(really ${path.join(srv, "other")})`);
  });

  test("may be named through a link of the host's own by the policy, and never by a manifest", async () => {
    await symlink(srv, path.join(base, "linked"));
    await write(`images: [ghcr.io/acme/*]\nvolumes: { directories: ["${base}/linked/shop/*"] }`);
    expect(await under("shop", "uploads")).toBe("allowed");
    expect(await verdict(startOf(mount(`${base}/linked/shop/uploads`)))).toContain("links are not followed");
  });

  test("are looked at again before a container is started again, whatever they were when it was made", async () => {
    const uploads = path.join(srv, "shop", "uploads");
    const policy = policyOf();
    expect(await policy.admits(standing(uploads))).toBeUndefined();
    await rm(uploads, { recursive: true });
    await symlink("/etc", uploads);
    expect(await policy.admits(standing(uploads))).toContain("(really /etc)");
    await rm(uploads);
    expect(await policy.admits(standing(uploads))).toContain("does not exist");
    await mkdir(uploads);
    expect(await policy.admits(standing(uploads))).toBeUndefined();
    await write(`images: [ghcr.io/acme/*]\nvolumes: { directories: ["${srv}/other"] }`);
    expect(await policy.admits(standing(uploads))).toContain("is none of those it allows");
    await write("images: [docker.io/acme/*]");
    expect(await policy.admits(standing("sluice-v"))).toContain(`image ${image} is none of those it allows`);
    // An accessory runs by the id of the image that was allowed by its name.
    expect(await policy.admits(standing("sluice-v", [digest, "acme/db:1"]))).toBeUndefined();
  });

  test("stay those of before for what ran by them, while the file is broken", async () => {
    const policy = policyOf();
    const uploads = path.join(srv, "shop", "uploads");
    expect(await policy.admits(standing(uploads))).toBeUndefined();
    await write("images: [");
    expect(await policy.admits(standing(uploads))).toBeUndefined();
    expect(await policy.admits(standing(path.join(srv, "other")))).toContain("is none of those it allows");
    expect(await verdict(startOf(mount(uploads)), policy)).toContain("takes no job");
    expect(await policyOf().admits(standing(uploads))).toContain("can't be gone by");
  });

  test.runIf(process.getuid?.() === 0)(
    "are no second way into what is closed, by another mount of it",
    async () => {
      const run = promisify(execFile);
      const own = path.join(base, "engine", "docker");
      await mkdir(path.join(own, "volumes"), { recursive: true });
      const policy = policyOf({ engineRoot: async () => own });
      await write(`images: ['**']\nvolumes: { directories: ["${srv}/*"] }`);
      const bound = path.join(srv, "other");
      // The place itself, one in it, and one that holds it.
      for (const from of [own, path.join(own, "volumes"), path.dirname(own)]) {
        await run("mount", ["--bind", from, bound]);
        try {
          expect(await verdict(startOf(mount(bound)), policy)).toContain(`is, or holds, ${own}`);
        } finally {
          await run("umount", [bound]);
        }
      }
      expect(await verdict(startOf(mount(bound)), policy)).toBe("allowed");
    },
  );

  test("must exist: what is made later could be a link by then", async () => {
    expect(await under("shop", "no-such")).toContain("does not exist, or can't be seen by this agent");
  });

  test.each([
    ["/srv/shop", "/srv/shop/*"],
    ["/srv/*", "/srv/shop/uploads"],
    ["/srv/*/a", "/srv/shop/*/b"],
  ])("are never %s beside %s: an app in the one could replace the other by a link", async (upper, lower) => {
    await write(`images: [ghcr.io/acme/*]\nvolumes: { directories: ["${lower}", "${upper}"] }`);
    expect(await under("shop", "uploads")).toContain(`${lower} may lie beneath ${upper}`);
  });

  test("are none where the policy says nothing of them", async () => {
    await write("images: [ghcr.io/acme/*]");
    expect(await under("shop", "uploads")).toContain("is none of those it allows (none)");
    expect(await verdict(startOf(mount("sluice-shop-production-uploads")))).toBe("allowed");
    await write("images: [ghcr.io/acme/*]\nvolumes: { named: false }");
    expect(await verdict(startOf(mount("sluice-shop-production-uploads")))).toContain("volumes.named: false");
  });
});

describe("limits", () => {
  test("hold for cpus and memory, which then must be set", async () => {
    await write("images: [ghcr.io/acme/*]\nlimits: { cpus: 1.5, memory: 512m }");
    const resources = { cpus: 1.5, memoryBytes: 512 << 20 };
    expect(await verdict(startOf({ resources }))).toBe("allowed");
    expect(await verdict(startOf({ resources: { ...resources, cpus: 2 } }))).toContain("resources.cpus is 2");
    expect(await verdict(startOf({ resources: { ...resources, memoryBytes: 1 << 30 } }))).toContain(
      "resources.memory is 1073741824 bytes",
    );
    expect(await verdict(startOf({ resources: { cpus: 1 } }))).toContain("resources.memory must be set");
    expect(await verdict(startOf())).toContain("resources.cpus must be set (at most 1.5)");
  });

  test("may only ask that both are set", async () => {
    await write("images: [ghcr.io/acme/*]\nlimits: { required: true }");
    expect(await verdict(startOf())).toContain("resources.cpus must be set (limits.required)");
    expect(await verdict(startOf({ resources: { cpus: 64, memoryBytes: 2 ** 40 } }))).toBe("allowed");
  });

  test("hold for the number of instances, without the one that is started again", async () => {
    await write("images: [ghcr.io/acme/*]\nlimits: { instances: 2 }");
    expect(await verdict(startOf(), policyOf(), ["ins-2"])).toBe("allowed");
    expect(await verdict(startOf(), policyOf(), ["ins-2", "ins-1"])).toBe("allowed");
    expect(await verdict(startOf(), policyOf(), ["ins-2", "ins-3"])).toContain(
      "has 2 instances, and it allows 2",
    );
  });
});

describe("walls", () => {
  test("are the usual capabilities where the policy says nothing, and exactly its own where it does", async () => {
    const asking = (capabilities: string[]) => startOf({ container: { ...plain, capabilities } });
    await write("images: [ghcr.io/acme/*]");
    expect(await verdict(startOf())).toBe("allowed");
    expect(await verdict(asking(["NET_RAW"]))).toContain("container.capabilities asks for NET_RAW");
    await write("images: [ghcr.io/acme/*]\ncapabilities: [NET_RAW]");
    expect(await verdict(asking(["NET_RAW"]))).toBe("allowed");
    expect(await verdict(startOf())).toContain("without container.capabilities it has CHOWN");
    await write("images: [ghcr.io/acme/*]\ncapabilities: [SYS_ADMIN]");
    expect(await verdict(asking([]))).toContain("is never given to any container");
  });

  test("mean nothing where plain processes run: the process root says what may", async () => {
    await write("images: []\ncapabilities: []");
    expect(await verdict(startOf({ image: "file:app" }), policyOf({ runtime: "process" }))).toBe("allowed");
  });

  test.each([
    ["networks", startOf({ network: "sluice-shop-production" })],
    ["hooks", jobSchema.parse({ ...usual, kind: "run", ...runOf({ run: "r", image, command: ["true"] }) })],
    ["accessories", accessoryOf("start")],
    ["accessories", accessoryOf("upgrade")],
  ])("can close a host to %s", async (key, job) => {
    await write("images: [ghcr.io/acme/*]");
    expect(await verdict(job)).toBe("allowed");
    await write(`images: [ghcr.io/acme/*]\n${key}: false`);
    expect(await verdict(job)).toContain(`(${key}: false)`);
  });

  test("never keep anything from being ended", async () => {
    await write("images: []\naccessories: false");
    const stop = jobSchema.parse({ ...usual, kind: "stop", instance: "ins-1", graceMs: 0 });
    for (const job of [stop, accessoryOf("stop"), accessoryOf("remove")])
      expect(await verdict(job)).toBe("allowed");
  });
});

describe("a policy file", () => {
  test("may be the one that docs/hosts.md shows", async () => {
    const page = await readFile(path.join(import.meta.dirname, "../../docs/hosts.md"), "utf8");
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
