import { mkdir, symlink } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { type Job, jobSchema } from "../../../src/protocol/agent/jobs.ts";
import { runOf, specOf } from "../specs.ts";
import {
  base,
  digest,
  file,
  image,
  mount,
  plain,
  policyOf,
  pullOf,
  standing,
  startOf,
  usePolicyFolders,
  usual,
  verdict,
  write,
} from "./policy-stage.ts";

usePolicyFolders();

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
    const program = path.resolve(import.meta.dirname, "../../..");
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
