import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Journal, openJournal } from "../../../agent/journal.ts";
import { Signatures } from "../../../agent/verify/signatures.ts";
import type { ImageRule } from "../../../src/protocol/agent/image.ts";
import { keyBundle, type Signing, type Sigstore, sigstore } from "../../support/services/sigstore.ts";

/** Signatures without a key: by certificates of an own authority, seen by an own log and an own clock. */
const DIGEST = `sha256:${"d".repeat(64)}`;
const IMAGE = `ghcr.test/acme/shop@${DIGEST}`;
const GITHUB = "https://token.actions.githubusercontent.com";
const WORKFLOW = "https://github.com/acme/shop/.github/workflows/release.yml@refs/tags/v1";
const REPOSITORY = "https://github.com/acme/shop";
const PROVENANCE = "https://slsa.dev/provenance/v1";
const HOUR_MS = 3_600_000;

const BY_IDENTITY: ImageRule = {
  mode: "enforce",
  cosign: { issuer: GITHUB, identity: `${REPOSITORY}/.github/workflows/release.yml@refs/tags/*` },
};
const BY_REPOSITORY: ImageRule = { mode: "enforce", attestation: { github: "acme/shop" } };
const good: Signing = { digest: DIGEST, issuer: GITHUB, identity: WORKFLOW, repository: REPOSITORY };

let ours: Sigstore;
let theirs: Sigstore;
let directory: string;
let journal: Journal;
let now: number;
const log = { info() {}, warn() {}, error() {} };

beforeAll(async () => {
  [ours, theirs] = await Promise.all([sigstore(), sigstore()]);
});
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "sluice-keyless-"));
  journal = await openJournal(directory, () => {});
  now = Date.now();
  await trust(ours.root());
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const trust = (...roots: object[]) =>
  writeFile(path.join(directory, "trusted-root.json"), roots.map((root) => JSON.stringify(root)).join("\n"));
const attach = (...bundles: object[]) =>
  writeFile(
    path.join(directory, `${DIGEST.replace(":", "-")}.jsonl`),
    bundles.map((bundle) => JSON.stringify(bundle)).join("\n"),
  );
async function verdict(rule: ImageRule, image = IMAGE): Promise<string> {
  const signatures = new Signatures({ journal, log, sigstore: directory, now: () => now });
  const refused = await signatures.refuse({ image, rule, login: undefined, progress() {} });
  return refused && !refused.ok ? `${refused.error.code}: ${refused.error.message}` : "allowed";
}

describe("a signature without a key", () => {
  test("holds by who signed it, seen by a log or by a clock", async () => {
    await attach(await ours.bundle(good));
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
    await trust(ours.root("logs"));
    await attach(await ours.bundle({ ...good, by: ["clock"], receipt: false }));
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
  });

  test("holds for a repository whose workflow attests how it was built", async () => {
    await attach(await ours.bundle({ ...good, predicate: PROVENANCE }));
    expect(await verdict(BY_REPOSITORY)).toBe("allowed");
  });

  test("holds if one of several does, by one of several roots", async () => {
    await trust(theirs.root(), ours.root("logs"));
    await attach(
      await theirs.bundle({ ...good, digest: `sha256:${"e".repeat(64)}` }),
      await ours.bundle({ ...good, by: ["clock"], receipt: false }),
    );
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
  });

  test.each<[string, ImageRule, Partial<Signing>, string]>([
    [
      "by another",
      BY_IDENTITY,
      { identity: WORKFLOW.replace("shop", "fork") },
      "it was signed by https://github.com/acme/fork",
    ],
    ["by a workflow beside", BY_IDENTITY, { identity: `${WORKFLOW}/x` }, "it was signed by"],
    [
      "vouched for by another",
      BY_IDENTITY,
      { issuer: "https://issuer.evil.test" },
      "https://issuer.evil.test vouches",
    ],
    ["of another image", BY_IDENTITY, { digest: `sha256:${"e".repeat(64)}` }, "of another image (sha256:eee"],
    ["of something else about it", BY_IDENTITY, { predicate: PROVENANCE }, `signed as ${PROVENANCE}`],
    ["changed later", BY_IDENTITY, { altered: true }, "does not hold"],
    ["that no log saw", BY_IDENTITY, { by: ["clock"] }, "expected 1 tlog entries, got 0"],
    ["that nobody saw", BY_IDENTITY, { by: [] }, "expected 1 timestamps, got 0"],
    [
      "as an attestation, of another repository",
      BY_REPOSITORY,
      { repository: `${REPOSITORY}-fork`, predicate: PROVENANCE },
      "it was built from https://github.com/acme/shop-fork",
    ],
    [
      "as an attestation, of no repository",
      BY_REPOSITORY,
      { repository: "", predicate: PROVENANCE },
      "it was built from",
    ],
    [
      "as an attestation, by a workflow of others",
      BY_REPOSITORY,
      { identity: WORKFLOW.replace("acme/shop", "evil/ci"), predicate: PROVENANCE },
      "by a workflow of others",
    ],
    [
      "as an attestation that says nothing of its build",
      BY_REPOSITORY,
      {},
      "signed as https://sigstore.dev/cosign/sign/v1",
    ],
    [
      "as an attestation, vouched for by another",
      BY_REPOSITORY,
      { issuer: "https://ghe.evil.test", predicate: PROVENANCE },
      "https://ghe.evil.test vouches",
    ],
  ])("%s does not hold", async (_what, rule, over, why) => {
    await attach(await ours.bundle({ ...good, ...over }));
    const said = await verdict(rule);
    expect(said).toContain("signature_refused");
    expect(said).toContain(why);
  });

  test("of an authority that this host does not know does not hold", async () => {
    await attach(await theirs.bundle(good));
    expect(await verdict(BY_IDENTITY)).toContain("does not hold by this host's trusted root");
  });

  test("by a key is none, and one by a certificate is none for a rule with a key", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    await attach(keyBundle(DIGEST, privateKey));
    expect(await verdict(BY_IDENTITY)).toContain("signature_refused");
    const key = publicKey.export({ type: "spki", format: "pem" }).toString();
    const registry = await registryWith(await ours.bundle(good), keyBundle(DIGEST, privateKey));
    expect(await verdict({ mode: "enforce", cosign: { key } }, registry.image)).toBe("allowed");
    await registry.close();
    const other = await registryWith(await ours.bundle(good));
    expect(await verdict({ mode: "enforce", cosign: { key } }, other.image)).toContain(
      "by no key but by a certificate",
    );
    await other.close();
  });
});

describe("clocks", () => {
  const YEAR_MS = 365 * 24 * HOUR_MS;

  test("a certificate that is long over holds, if it was seen while it held", async () => {
    await attach(await ours.bundle(good));
    now += YEAR_MS;
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
  });

  test.each<["log" | "clock", number]>([
    ["log", HOUR_MS],
    ["log", -HOUR_MS],
    ["clock", HOUR_MS],
  ])("one that a %s saw %i ms beside its certificate's minutes does not hold", async (by, beside) => {
    await trust(ours.root(by === "clock" ? "logs" : undefined));
    const seenAt = new Date(now + beside);
    await attach(await ours.bundle({ ...good, seenAt, by: [by], receipt: by === "log" }));
    now += YEAR_MS;
    expect(await verdict(BY_IDENTITY)).toContain("does not hold");
  });

  test("one from the future is refused, and holds once it is the past", async () => {
    const issuedAt = new Date(now + HOUR_MS);
    await attach(await ours.bundle({ ...good, issuedAt }));
    expect(await verdict(BY_IDENTITY)).toContain("yet to come: check the clock");
    now += HOUR_MS - 5 * 60_000; // honest clocks differ by minutes
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
  });
});

describe("the host's trusted root", () => {
  const root = () => path.join(directory, "trusted-root.json");
  const broken: [string, () => Promise<unknown>, string][] = [
    ["missing", () => rm(root()), "this host trusts nobody who could vouch"],
    ["no JSON", () => writeFile(root(), "{"), "is no trusted root"],
    ["something else", () => writeFile(root(), '{"mediaType":"text/plain"}'), "is no trusted root"],
    [
      "garbage inside",
      () =>
        writeFile(
          root(),
          '{"mediaType":"application/vnd.dev.sigstore.trustedroot","tlogs":[{"publicKey":{"rawBytes":"AA=="}}]}',
        ),
      "can't be read",
    ],
    [
      "with nothing in it",
      () => writeFile(root(), '{"mediaType":"application/vnd.dev.sigstore.trustedroot"}'),
      "does not hold",
    ],
    ["anybody's to write", () => chmod(root(), 0o666), "can be written by its group or by everybody"],
  ];
  test.each(broken)("%s lets nothing run", async (_what, breaking, why) => {
    await attach(await ours.bundle(good));
    await breaking();
    const said = await verdict(BY_IDENTITY);
    expect(said).toContain("signature_refused");
    expect(said).toContain(why);
  });

  test("is asked again when it is another, and remembered while it is the same", async () => {
    await attach(await ours.bundle(good));
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
    await attach();
    expect(await verdict(BY_IDENTITY)).toBe("allowed");
    await trust(theirs.root());
    expect(await verdict(BY_IDENTITY)).toContain("signature_refused");
  });
});

describe("a bundle in the registry", () => {
  test.each(["referrers", "tag"] as const)("is found by its %s", async (by) => {
    const registry = await registryWith(await ours.bundle(good), by);
    expect(await verdict(BY_IDENTITY, registry.image)).toBe("allowed");
    await registry.close();
  });

  test("is read as cosign 2 kept it, too", async () => {
    const registry = await registryWith(await ours.layer(good), "sig");
    expect(await verdict(BY_IDENTITY, registry.image)).toBe("allowed");
    expect(await verdict(BY_REPOSITORY, registry.image)).toContain("it has no signature");
    await registry.close();
    const over = { digest: `sha256:${"e".repeat(64)}` };
    const other = await registryWith(await ours.layer({ ...good, ...over }), "sig");
    expect(await verdict({ ...BY_IDENTITY, mode: "enforce" }, other.image)).toContain(
      "of another image (sha256:eee",
    );
    await other.close();
  });

  test("that is no bundle, too large, or a registry that breaks: nothing runs", async () => {
    for (const bundle of [{}, { mediaType: "x".repeat(2 << 20) }, { mediaType: [["a"]] }]) {
      const registry = await registryWith(bundle);
      expect(await verdict(BY_IDENTITY, registry.image)).toContain("signature_refused");
      await registry.close();
    }
  });
});

/** The calls of a registry that are asked, for what is attached to the image. The engine has no part in it. */
async function registryWith(...given: (object | "referrers" | "tag" | "sig")[]) {
  const by = given.find((one) => typeof one === "string") ?? "referrers";
  const attached = given.filter((one) => typeof one === "object");
  const places = by === "sig" ? sigPlaces(attached) : bundlePlaces(attached, by);
  const server = http.createServer((request, response) => {
    const found = places.get(request.url?.replace("/v2/acme/shop/", "") ?? "");
    response.writeHead(found === undefined ? 404 : 200).end(found);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  return {
    image: `127.0.0.1:${port}/acme/shop@${DIGEST}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

const digestOf = (kind: string, index: number) => `sha256:${kind}${String(index).padStart(63, "0")}`;

function bundlePlaces(bundles: object[], by: "referrers" | "tag"): Map<string, string> {
  const mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json";
  const index = { manifests: bundles.map((_, i) => ({ digest: digestOf("a", i), artifactType: mediaType })) };
  const place = by === "referrers" ? `referrers/${DIGEST}` : `manifests/${DIGEST.replace(":", "-")}`;
  const layer = (i: number) => ({ layers: [{ mediaType, digest: digestOf("b", i) }] });
  return new Map([
    [place, JSON.stringify(index)],
    ...bundles.map((_, i): [string, string] => [`manifests/${digestOf("a", i)}`, JSON.stringify(layer(i))]),
    ...bundles.map((one, i): [string, string] => [`blobs/${digestOf("b", i)}`, JSON.stringify(one)]),
  ]);
}

function sigPlaces(layers: object[]): Map<string, string> {
  const mediaType = "application/vnd.dev.cosign.simplesigning.v1+json";
  const payloads = layers.map((one, i): [string, string] => [
    `blobs/${digestOf("b", i)}`,
    "payload" in one ? String(one.payload) : "",
  ]);
  const manifest = { layers: layers.map((one, i) => ({ ...one, mediaType, digest: digestOf("b", i) })) };
  return new Map([[`manifests/${DIGEST.replace(":", "-")}.sig`, JSON.stringify(manifest)], ...payloads]);
}
