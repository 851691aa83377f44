import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LogLineView } from "../../src/protocol/api/logs.ts";
import { nodeImage } from "../agent/images.ts";
import { type Running, startCli } from "../support/cli/run-cli.ts";
import { engine } from "../support/engine/docker.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/**
 * A reader who stays through a deploy and through the death of control: every line of every instance, once, in the order
 * it was written, from its first to the one it wrote when it was stopped.
 */
const APP = "numbers";
const SCRIPT = `
let n = 0;
const count = setInterval(() => console.log("line " + ++n), 20);
process.on("SIGTERM", () => { console.log("bye " + n); process.exit(0); });
require("node:http").createServer((request, response) => response.end("ready")).listen(process.env.PORT);`;

/** The CLI at work, and the lines it has printed. */
class Following {
  readonly lines: LogLineView[] = [];
  readonly running: Running;
  #rest = "";

  constructor(running: Running) {
    this.running = running;
    running.child.stdout?.on("data", (chunk) => {
      const parts = (this.#rest + chunk).split("\n");
      this.#rest = parts.pop() ?? "";
      for (const part of parts) {
        const object = JSON.parse(part);
        if (object.type === "line") this.lines.push(object);
      }
    });
  }

  /** What each instance of a version said. */
  of(version: string): Map<string, string[]> {
    const ofVersion = this.lines.filter((line) => line.version === version);
    const instances = [...new Set(ofVersion.map(({ instance }) => instance))];
    return new Map(
      instances.map((id) => [
        id,
        ofVersion.filter(({ instance }) => instance === id).map(({ text }) => text),
      ]),
    );
  }

  /** Waits until two instances of a version have said so much more. */
  async hears(version: string, more = 50): Promise<void> {
    const before = this.of(version);
    await expect
      .poll(
        () =>
          [...this.of(version)].filter(([id, texts]) => texts.length >= (before.get(id)?.length ?? 0) + more)
            .length,
        {
          timeout: 60_000,
        },
      )
      .toBe(2);
  }
}

const numbered = (count: number) => Array.from({ length: count }, (_, n) => `line ${n + 1}`);

describe.each(["process", "docker"] as const)("a reader of logs, on %s", (runtime) => {
  const isMissing = runtime === "docker" && !engine;
  let sluice: Installation;
  let app: AppOptions;

  beforeAll(async () => {
    if (isMissing) return;
    app = {
      command: ["node", "-e", SCRIPT],
      ...(runtime === "docker" && { image: await nodeImage() }),
    };
    sluice = await Installation.start({ slots: 10, runtime });
    await sluice.deploy(APP, app, "v1");
  });
  afterAll(() => sluice?.close());

  test.skipIf(isMissing)(
    "misses no line and gets none twice, through a deploy and the death of control",
    async () => {
      const args = ["logs", APP, "-e", "production", "--follow", "--since", "1h", "--json=stream"];
      const env = { SLUICE_TOKEN: sluice.home.token };
      const following = new Following(await startCli(args, { url: sluice.controlUrl, env }));
      await following.hears("v1");

      await sluice.deploy(APP, app, "v2");
      await following.hears("v2");
      await expect
        .poll(() => [...following.of("v1").values()].map((texts) => texts.at(-1)), { timeout: 90_000 })
        .toEqual([expect.stringMatching(/^bye/), expect.stringMatching(/^bye/)]);

      await sluice.killStack();
      await following.running.said("no line is missed");
      await sluice.reviveStack();
      await following.running.said("back in contact");
      await following.hears("v2");

      await sluice.deploy(APP, app, "v3");
      await following.hears("v3");
      following.running.child.kill("SIGINT");
      expect((await following.running.done).code).toBe(130);

      for (const version of ["v1", "v2", "v3"]) {
        for (const texts of following.of(version).values()) {
          const lines = texts.filter((text) => text.startsWith("line"));
          expect(lines).toEqual(numbered(lines.length));
          if (version === "v1") expect(texts.at(-1)).toBe(`bye ${lines.length}`);
        }
      }
      expect(new Set(following.lines.map(({ host }) => host))).toEqual(new Set(["web-1", "web-2"]));
    },
  );

  test.skipIf(isMissing)("gets the last lines of one release on one host, and the end", async () => {
    const ran = await sluice.sluice(APP, app, ["logs", "--release", "v3", "--host", "web-1", "--tail", "3"]);
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout).toMatch(/^(web-1 v3 #\d \| line \d+\n){3}$/);
  });

  // Nothing of it is the runtime's.
  if (runtime === "docker") return;
  test("is told of a host that does not answer, and gets what the other has", async () => {
    await sluice.hosts[1]?.stop("SIGKILL");
    const ran = await sluice.sluice(APP, app, ["logs", "--release", "v3", "--tail", "2"]);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^(web-1 v3 #\d \| line \d+\n){2}$/);
    expect(ran.stderr).toMatch(/^web-2 has not answered for 5 s: its lines are missing\n$/);
    await sluice.hosts[0]?.stop("SIGKILL");
    const none = await sluice.sluice(APP, app, ["logs"]);
    expect(none).toMatchObject({ code: 6, stdout: "" });
    expect(none.stderr).toContain("no host answered");
  });
});
