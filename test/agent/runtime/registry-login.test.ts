import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { removeImages, variantImage } from "../../../local/images.ts";
import type { RegistryLogin } from "../../../src/protocol/agent/image.ts";
import {
  engine,
  freePort,
  hasRegistry,
  MEMBER,
  type Registry,
  startRegistry,
  theEngine,
} from "../../support/engine/docker.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { specOf } from "../specs.ts";

const tiny = `sluice-test:login-${process.pid}`;

describe.skipIf(!engine || !hasRegistry)("a registry that lets members in only", () => {
  let registry: Registry;
  let bench: AgentBench;
  let digest: string;
  let image: string;

  beforeAll(async () => {
    registry = await startRegistry({ for: "members" });
    bench = await agentBench({ runtime: createDockerRuntime({ host: `login-${process.pid}` }) });
    await variantImage(theEngine(), { from: "scratch", tag: tiny, lines: ["COPY Dockerfile /"] });
    digest = await registry.push(tiny, "app:v1");
    image = `${registry.address}/app@${digest}`;
    await forget();
  });
  afterAll(async () => {
    expect(bench.control.invalid).toEqual([]);
    await bench.close();
    await registry.close();
    await removeImages(theEngine(), [tiny]);
  });

  const forget = () => removeImages(theEngine(), [tiny, `${registry.address}/app:v1`, image]);
  const member = (over: Partial<RegistryLogin> = {}) => ({ registry: registry.address, ...MEMBER, ...over });

  async function pull(id: string, login?: RegistryLogin) {
    const asked = `${registry.address}/app:v1`;
    bench.control.give({ id, kind: "pull", image: asked, ...(login && { login }) });
    return bench.control.result(id);
  }

  test("refuses a pull without credentials, and says what to do", async () => {
    expect(await pull("job-none")).toMatchObject({
      ok: false,
      error: {
        code: "image_unauthorized",
        message: expect.stringContaining(`give control a registry login for it, or run \`docker login`),
      },
    });
  });

  test("refuses wrong credentials, and names the user, never the password", async () => {
    const answer = await pull("job-wrong", member({ password: "wr0ng-one" }));
    expect(answer).toMatchObject({ ok: false, error: { code: "image_unauthorized" } });
    expect(JSON.stringify(answer)).toContain("user deployer");
    expect(JSON.stringify(answer)).not.toContain("wr0ng-one");
  });

  test("never gets the login of another registry", async () => {
    expect(await pull("job-other", member({ registry: "ghcr.io" }))).toMatchObject({
      ok: false,
      error: { code: "image_unauthorized" },
    });
  });

  test("gives an image to the job's own login, which is kept nowhere", async () => {
    expect(await pull("job-right", member())).toMatchObject({ ok: true, result: { image, digest } });
    const journal = await readFile(path.join(bench.directory, "journal.json"), "utf8");
    expect(journal).toContain(image);
    for (const text of [journal, bench.lines.join(), JSON.stringify(bench.control.progress)]) {
      expect(text).not.toContain(MEMBER.password);
      expect(text).not.toContain(Buffer.from(MEMBER.password).toString("base64"));
    }
  });

  test("is opened by the host's own docker login when the job brings none", async () => {
    await forget();
    const config = await mkdtemp(path.join(tmpdir(), "sluice-login-"));
    const auth = Buffer.from(`${MEMBER.username}:${MEMBER.password}`).toString("base64");
    await writeFile(
      path.join(config, "config.json"),
      JSON.stringify({ auths: { [registry.address]: { auth } } }),
    );
    const before = process.env.DOCKER_CONFIG;
    process.env.DOCKER_CONFIG = config;
    const answer = await pull("job-host-login");
    if (before === undefined) delete process.env.DOCKER_CONFIG;
    else process.env.DOCKER_CONFIG = before;
    await rm(config, { recursive: true });
    expect(answer).toMatchObject({ ok: true, result: { image, digest } });
  });

  test("gives a start job with a login the image that was pruned meanwhile", async () => {
    await forget();
    const spec = specOf({
      instance: `login-${process.pid}`,
      image,
      hostPort: await freePort(),
      command: ["/nothing"],
    });
    bench.control.give({ id: "job-bare", kind: "start", spec });
    expect(await bench.control.result("job-bare")).toMatchObject({
      ok: false,
      error: { code: "image_unauthorized" },
    });
    bench.control.give({ id: "job-start", kind: "start", spec, login: member() });
    // It was downloaded, and ran: there is nothing in it to run.
    expect(await bench.control.result("job-start")).toMatchObject({
      ok: false,
      error: { code: "exited", exitCode: 127 },
    });
    await forget();
  });
});
