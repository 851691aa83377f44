import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Journal, openJournal } from "../../../agent/journal.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { Signatures } from "../../../agent/verify/signatures.ts";
import type { ImageRule } from "../../../src/protocol/agent/image.ts";
import {
  engine,
  freePort,
  hasRegistry,
  MEMBER,
  type Registry,
  startRegistry,
} from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { nodeImage } from "../images.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { runOf, specOf } from "../specs.ts";

/** Signatures as `cosign sign --key` leaves them beside an image, in a real registry. */
const keys = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const pemOf = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();
const ruleOf = (key: KeyObject, mode: ImageRule["mode"] = "enforce"): ImageRule => ({
  mode,
  cosign: { key: pemOf(key) },
});
const sha256 = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const auth = `Basic ${Buffer.from(`${MEMBER.username}:${MEMBER.password}`).toString("base64")}`;

async function put(url: string, body: Buffer, type: string): Promise<void> {
  const headers = { "content-type": type, authorization: auth };
  const answer = await fetch(url, { method: "PUT", headers, body: new Uint8Array(body) });
  if (answer.status !== 201) throw new Error(`PUT ${url} answered ${answer.status}: ${await answer.text()}`);
}

async function putBlob(repository: string, bytes: Buffer): Promise<void> {
  const begun = await fetch(`${repository}/blobs/uploads/`, {
    method: "POST",
    headers: { authorization: auth },
  });
  const place = new URL(begun.headers.get("location") ?? "", repository);
  place.searchParams.set("digest", sha256(bytes));
  await put(place.href, bytes, "application/octet-stream");
}

interface Signing {
  address: string;
  name: string;
  digest: string;
  key: KeyObject;
  /** What the payload says instead of this digest. */
  says?: string;
  /** What is signed instead of the payload. */
  signs?: string;
  type?: string;
}

async function signImage({ address, name, digest, key, says = digest, signs, type }: Signing): Promise<void> {
  const repository = `http://${address}/v2/${name}`;
  const critical = {
    identity: { "docker-reference": `${address}/${name}` },
    image: { "docker-manifest-digest": says },
    type: type ?? "cosign container image signature",
  };
  const payload = Buffer.from(JSON.stringify({ critical, optional: null }));
  const hash = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  const signature = sign(hash, signs === undefined ? payload : Buffer.from(signs), key).toString("base64");
  const config = Buffer.from("{}");
  for (const bytes of [payload, config]) await putBlob(repository, bytes);
  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", size: 2, digest: sha256(config) },
    layers: [
      {
        mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
        size: payload.length,
        digest: sha256(payload),
        annotations: { "dev.cosignproject.cosign/signature": signature },
      },
    ],
  };
  const tag = `${digest.replace(":", "-")}.sig`;
  await put(`${repository}/manifests/${tag}`, Buffer.from(JSON.stringify(manifest)), manifest.mediaType);
}

describe.skipIf(!engine || !hasRegistry)("an image's signature", () => {
  let registry: Registry;
  let members: Registry;
  let directory: string;
  let journal: Journal;
  const log = { info() {}, warn() {}, error() {} };
  const told: string[] = [];

  beforeAll(async () => {
    registry = await startRegistry();
    members = await startRegistry({ for: "members" });
  });
  afterAll(async () => {
    await registry?.close();
    await members?.close();
  });
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "sluice-signatures-"));
    journal = await openJournal(directory, () => {});
    told.length = 0;
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  let pushes = 0;
  async function pushed(to = registry) {
    const name = `signed-${process.pid}-${++pushes}`;
    const digest = await to.push(await nodeImage(), `${name}:v1`);
    return { address: to.address, name, digest, image: `${to.address}/${name}@${digest}` };
  }
  async function refusal(
    image: string,
    rule: ImageRule,
    login?: Parameters<Signatures["refuse"]>[0]["login"],
  ) {
    const progress = (message: string) => void told.push(message);
    const refused = await new Signatures({ journal, log }).refuse({ image, rule, login, progress });
    return refused && !refused.ok ? `${refused.error.code}: ${refused.error.message}` : "allowed";
  }

  test.each([
    ["an elliptic curve", keys],
    ["RSA", () => generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["Ed25519", () => generateKeyPairSync("ed25519")],
  ])("holds by a key of %s", async (_kind, make) => {
    const { publicKey, privateKey } = make();
    const of = await pushed();
    expect(await refusal(of.image, ruleOf(publicKey))).toContain("it has no signature");
    await signImage({ ...of, key: privateKey });
    expect(await refusal(of.image, ruleOf(publicKey))).toBe("allowed");
  });

  test.each<[string, Partial<Signing>, string]>([
    ["by another key", { key: keys().privateKey }, "by another key"],
    ["of another image", { says: `sha256:${"a".repeat(64)}` }, "of another image (sha256:aaa"],
    ["of other words", { signs: "{}" }, "by another key"],
    ["that signs no image", { type: "something else" }, "signs no image"],
  ])("%s does not hold", async (_what, over, why) => {
    const { publicKey, privateKey } = keys();
    const of = await pushed();
    await signImage({ ...of, key: privateKey, ...over });
    expect(await refusal(of.image, ruleOf(publicKey))).toContain(`signature_refused: image ${of.image}`);
    expect(await refusal(of.image, ruleOf(publicKey))).toContain(why);
  });

  test("that can't be looked at is none", async () => {
    const { publicKey } = keys();
    const digest = `sha256:${"b".repeat(64)}`;
    expect(await refusal(`127.0.0.1:${await freePort()}/x@${digest}`, ruleOf(publicKey))).toContain(
      "ECONNREFUSED",
    );
    expect(await refusal("file:app", ruleOf(publicKey))).toContain("comes from no registry");
    expect(await refusal(digest, ruleOf(publicKey))).toContain("comes from no registry");
    expect(await refusal(`${registry.address}/x:v1`, ruleOf(publicKey))).toContain("comes from no registry");
    const broken = {
      mode: "enforce",
      cosign: { key: "-----BEGIN PUBLIC KEY-----\nno\n-----END PUBLIC KEY-----" },
    } as const;
    expect(await refusal((await pushed()).image, broken)).toContain("it can't be told");
  });

  test("is asked for with the app's login, where the registry wants one", async () => {
    const { publicKey, privateKey } = keys();
    const of = await pushed(members);
    await signImage({ ...of, key: privateKey });
    expect(await refusal(of.image, ruleOf(publicKey))).toContain("answered 401");
    const login = { registry: members.address, ...MEMBER };
    expect(await refusal(of.image, ruleOf(publicKey), login)).toBe("allowed");
  });

  test("that held once holds while the registry is away, for that key only", async () => {
    const { publicKey, privateKey } = keys();
    const own = await startRegistry();
    const of = await pushed(own);
    await signImage({ ...of, key: privateKey });
    expect(await refusal(of.image, ruleOf(publicKey))).toBe("allowed");
    await own.close();
    expect(await refusal(of.image, ruleOf(publicKey))).toBe("allowed");
    expect(await refusal(of.image, ruleOf(keys().publicKey))).toContain("it can't be told");
  });

  test("is only missed where the rule says warn", async () => {
    const of = await pushed();
    expect(await refusal(of.image, ruleOf(keys().publicKey, "warn"))).toBe("allowed");
    expect(told.at(-1)).toContain("it has no signature (verify.mode is warn: it runs all the same)");
  });

  describe("to an agent", () => {
    let bench: AgentBench;
    beforeEach(async () => {
      bench = await agentBench({ runtime: createDockerRuntime({ host: `signed-${process.pid}` }) });
    });
    afterEach(() => bench.close());

    test("is what every job waits for: pull, hook and start", async () => {
      const { publicKey, privateKey } = keys();
      const of = await pushed();
      const verify = ruleOf(publicKey);
      const spec = specOf({
        ...{ instance: `sig-${process.pid}`, image: of.image, hostPort: await freePort(), verify },
        command: nodeCommand("good"),
      });
      const run = {
        kind: "run",
        ...runOf({ run: "r", image: of.image, command: ["true"], verify }),
      } as const;
      bench.control.give({ id: "pull-1", kind: "pull", image: of.image.replace(/@.*/, ":v1"), verify });
      bench.control.give({ id: "run-1", ...run });
      bench.control.give({ id: "start-1", kind: "start", spec });
      for (const id of ["pull-1", "run-1", "start-1"])
        expect(await bench.control.result(id)).toMatchObject({
          ok: false,
          error: { code: "signature_refused" },
        });
      expect(await bench.runtime.list()).toEqual({ ok: true, value: [] });
      expect(await bench.runtime.runs.find("r")).toEqual({ ok: true, value: "none" });

      await signImage({ ...of, key: privateKey });
      bench.control.give({ id: "pull-2", kind: "pull", image: of.image.replace(/@.*/, ":v1"), verify });
      expect(await bench.control.result("pull-2")).toMatchObject({ ok: true, result: { digest: of.digest } });
      bench.control.give({ id: "start-2", kind: "start", spec });
      expect(await bench.control.result("start-2")).toMatchObject({ ok: true });
    });
  });
});
