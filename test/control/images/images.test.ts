import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../../src/control/bytes.ts";
import { sweepImages } from "../../../src/control/images/sweep.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { CONFIG_TYPE, LAYER_TYPES, MANIFEST_TYPE } from "../../../src/protocol/images.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

/** Images without a registry: what is sent, who may have it, and when it goes. */
const ROOT = "/api/v1/apps/shop/envs/production/images";
const DAY_MS = 86_400_000;
const bytesOf = (text: string) => Uint8Array.from(new TextEncoder().encode(text));
const digestOf = async (bytes: Uint8Array<ArrayBuffer>) =>
  `sha256:${toHex(await crypto.subtle.digest("SHA-256", bytes))}`;

let api: Api;
let environmentId: string;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  environmentId = await world.applied(api);
});

interface Sending {
  readonly root?: string;
  readonly token?: string;
}

async function send(
  bytes: Uint8Array<ArrayBuffer>,
  { root = ROOT, token }: Sending & { as?: string } = {},
  as?: string,
) {
  const digest = as ?? (await digestOf(bytes));
  const request = api.request("PUT", `${root}/parts/${digest}`, token === undefined ? {} : { token });
  const headers = new Headers(request.headers);
  headers.set("content-length", String(bytes.length));
  return { digest, response: await api.send(new Request(request, { body: bytes, headers })) };
}

async function blob(
  parts: readonly Uint8Array<ArrayBuffer>[],
  to: Sending = {},
): Promise<{ digest: string; size: number }> {
  const whole = new Uint8Array(await new Blob([...parts]).arrayBuffer());
  const digests: string[] = [];
  for (const part of parts) {
    const sent = await send(part, to);
    expect(sent.response.status).toBe(204);
    digests.push(sent.digest);
  }
  const digest = await digestOf(whole);
  const put = await api.put(`${to.root ?? ROOT}/blobs/${digest}`, { size: whole.length, parts: digests }, to);
  expect(put.status, await put.clone().text()).toBe(200);
  return { digest, size: whole.length };
}

const DIFF_ID = `sha256:${"d".repeat(64)}`;
const config = (diffIds = [DIFF_ID]) =>
  bytesOf(JSON.stringify({ rootfs: { type: "layers", diff_ids: diffIds } }));
const manifestOf = (of: { digest: string; size: number }, layers: { digest: string; size: number }[]) =>
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, ...of },
    layers: layers.map((layer) => ({ mediaType: LAYER_TYPES[0], ...layer })),
  });

async function putManifest(manifest: string, to: Sending = {}, as?: string) {
  const digest = as ?? (await digestOf(bytesOf(manifest)));
  return { digest, response: await api.put(`${to.root ?? ROOT}/${digest}`, { manifest }, to) };
}

async function shipped(text = "a layer", to: Sending = {}) {
  const layer = await blob([bytesOf(`${text} in `), bytesOf("two parts")], to);
  const { digest, response } = await putManifest(manifestOf(await blob([config()], to), [layer]), to);
  expect(response.status, await response.clone().text()).toBe(200);
  return { digest, layer, image: (await response.json<{ image: string }>()).image };
}

const objects = async () => (await env.IMAGES?.list())?.objects.length;
const known = async (asked: object, to: Sending = {}) =>
  (await api.post(`${to.root ?? ROOT}/known`, asked, to)).json<{
    layers: { diffId: string; digest: string }[];
    blobs: { digest: string }[];
    parts: string[];
  }>();

describe("what is sent", () => {
  it("is an image once all of it is there, and then its layers are known by their files", async () => {
    const { image, digest, layer } = await shipped();
    expect(image).toBe(`sluice.local/shop@${digest}`);
    expect(await known({ layers: [DIFF_ID], blobs: [layer.digest, world.DIGEST] })).toEqual({
      layers: [{ diffId: DIFF_ID, mediaType: LAYER_TYPES[0], ...layer }],
      blobs: [layer],
      parts: [],
    });
    const again = await shipped();
    expect(again.digest).toBe(digest);
    const { items } = await (await api.get("/api/v1/audit")).json<{ items: { type: string }[] }>();
    expect(items.filter(({ type }) => type === "image.shipped")).toHaveLength(1);
  });

  it("is not kept under another digest: a part, a blob, a manifest", async () => {
    const part = bytesOf("a part");
    const forged = await send(part, {}, world.DIGEST);
    expect(await problemOf(forged.response)).toBe("400 invalid_request");
    expect(await objects()).toBe(0);
    const { digest } = await send(part);
    const other = await send(bytesOf("another"));
    const put = await api.put(`${ROOT}/blobs/${world.DIGEST}`, { size: 13, parts: [digest, other.digest] });
    expect(await put.text()).toContain("have another digest together");
    const one = await api.put(`${ROOT}/blobs/${world.DIGEST}`, { size: 6, parts: [digest] });
    expect(one.status).toBe(400);
    const manifest = await putManifest(manifestOf({ digest, size: 6 }, []), {}, world.DIGEST);
    expect(await manifest.response.text()).toContain("has another digest");
  });

  it("is sent once: a part that waits is known, and needs no second object", async () => {
    const { digest } = await send(bytesOf("a part"));
    expect((await known({ parts: [digest, world.DIGEST] })).parts).toEqual([digest]);
    await send(bytesOf("a part"));
    expect(await objects()).toBe(1);
  });

  it("is refused where a blob is missing, has another size, or the configuration is of other layers", async () => {
    const layer = await blob([bytesOf("a layer")]);
    const of = await blob([config()]);
    const ask = async (manifest: string) => problemOf((await putManifest(manifest)).response);
    expect(await ask(manifestOf(of, [layer, { digest: world.DIGEST, size: 3 }]))).toBe("409 conflict");
    expect(await ask(manifestOf(of, [{ ...layer, size: 3 }]))).toBe("400 invalid_request");
    expect(await ask(manifestOf(of, [layer, layer]))).toBe("400 invalid_request");
    expect(await ask(manifestOf(layer, [layer]))).toBe("400 invalid_request");
    expect(await ask("no JSON")).toBe("400 invalid_request");
    expect(await ask(JSON.stringify({ ...JSON.parse(manifestOf(of, [layer])), subject: of }))).toBe(
      "400 invalid_request",
    );
  });

  it("is bounded: no part above 32 MiB, none without a length", async () => {
    const request = api.request("PUT", `${ROOT}/parts/${world.DIGEST}`, {
      text: "x",
      headers: { "content-length": String(33 * 1024 * 1024) },
    });
    expect(await problemOf(await api.send(request))).toBe("413 body_too_large");
  });

  it("can be sent again where the bucket fails: at a part, at a layer, at a configuration", async () => {
    const part = await send(bytesOf("a part"));
    const other = await send(bytesOf("another"));
    const whole = await digestOf(bytesOf("a partanother"));
    const of = await blob([config()]);
    const layer = await blob([bytesOf("a layer")]);
    const fails = async () => {
      throw new Error("get: Network connection lost.");
    };
    const sound = api;
    api = new Api({}, { IMAGES: { put: fails, get: fails, delete: fails } } as object);
    const answers = [
      (await send(bytesOf("a third"))).response,
      await api.put(`${ROOT}/blobs/${whole}`, { size: 13, parts: [part.digest, other.digest] }),
      (await putManifest(manifestOf(of, [layer]))).response,
    ];
    for (const answer of answers) {
      expect(answer.headers.get("retry-after")).toBe("2");
      expect(await answer.clone().text()).toContain("Network connection lost");
      expect(await problemOf(answer)).toBe("503 unavailable");
    }
    api = sound;
    expect((await send(bytesOf("a third"))).response.status).toBe(204);
    expect(await blob([bytesOf("a part"), bytesOf("another")])).toEqual({ digest: whole, size: 13 });
    expect((await putManifest(manifestOf(of, [layer]))).response.status).toBe(200);
  });

  it("is refused with what to do where there is no bucket", async () => {
    const bare = new Api({}, { IMAGES: undefined } as object);
    const response = await bare.post(`${ROOT}/known`, {});
    expect(await response.clone().text()).toContain("sluice setup --images");
    expect(await problemOf(response)).toBe("409 not_configured");
  });
});

describe("another app", () => {
  it("neither learns of an app's blobs nor overwrites or releases its images", async () => {
    const { digest, layer, image } = await shipped();
    await world.applied(api, "other");
    const token = await api.token("deployer", { app: "other" });
    expect(await problemOf(await api.post(`${ROOT}/known`, {}, { token }))).toBe("403 forbidden");
    const root = "/api/v1/apps/other/envs/production/images";
    const own = await known({ layers: [DIFF_ID], blobs: [layer.digest] }, { root, token });
    expect(own).toEqual({ layers: [], blobs: [], parts: [] });
    const of = await blob([config()], { root, token });
    const stolen = await putManifest(manifestOf(of, [layer]), { root, token });
    expect(await problemOf(stolen.response)).toBe("409 conflict");
    const released = await api.post("/api/v1/apps/other/envs/production/releases", { image }, { token });
    expect(await problemOf(released)).toBe("403 forbidden");
    const renamed = image.replace("/shop@", "/other@");
    const other = await api.post(
      "/api/v1/apps/other/envs/production/releases",
      { image: renamed },
      { token },
    );
    expect(await problemOf(other)).toBe("404 not_found");
    expect(image).toContain(digest);
  });

  it("of the same environment's layers alone is told by their files", async () => {
    await shipped();
    await api.apply("shop", `${world.manifest()}  staging:\n    hostnames: [staging.example.com]\n`);
    const root = "/api/v1/apps/shop/envs/staging/images";
    expect((await known({ layers: [DIFF_ID] }, { root })).layers).toEqual([]);
  });
});

it("is planned before it is sent, and released by its digest alone", async () => {
  const problems = async (image?: string) => {
    const body = image === undefined ? {} : { image };
    const plan = await api.post("/api/v1/apps/shop/envs/production/releases?dryRun=1", body);
    return (await plan.json<{ problems: { detail: string }[] }>()).problems.map(({ detail }) => detail);
  };
  await api.apply("shop", world.manifest().replace(/^image: .*\n/m, ""));
  const lacks = (found: string[]) => found.filter((detail) => detail.includes("no registry"));
  expect(lacks(await problems("sluice.local/shop:4f2a"))).toEqual([]);
  expect(lacks(await problems())).toEqual([expect.stringContaining("sluice ship --to-hosts")]);
  const image = "sluice.local/shop:4f2a";
  const released = await api.post("/api/v1/apps/shop/envs/production/releases", { image });
  expect(await problemOf(released)).toBe("400 invalid_request");
});

describe("a host", () => {
  const at = (digest: string, blob?: string) =>
    `/agent/v1/images/${digest}${blob === undefined ? "" : `/blobs/${blob}`}`;

  it("gets an image of a job that is leased to it, whole or by ranges, and no other host does", async () => {
    const { digest, layer, image } = await shipped();
    const releaseId = await world.release(environmentId, { image, state: "preparing" });
    const [host, other] = [await world.enrolled(api, "web-1"), await world.enrolled(api, "web-2")];
    expect((await api.get(at(digest), { token: host.token })).status).toBe(404);
    await world.job(
      { environmentId, host, releaseId },
      { kind: "pull", state: "leased", payload: { image } },
    );
    const manifest = await api.get(at(digest), { token: host.token });
    expect(await digestOf(bytesOf(await manifest.text()))).toBe(digest);
    const whole = await api.get(at(digest, layer.digest), { token: host.token });
    expect(whole.headers.get("content-length")).toBe(String(layer.size));
    expect(await whole.text()).toBe("a layer in two parts");
    const range = { token: host.token, headers: { range: "bytes=8-13" } };
    const piece = await api.get(at(digest, layer.digest), range);
    expect([piece.status, piece.headers.get("content-range"), await piece.text()]).toEqual([
      206,
      `bytes 8-13/${layer.size}`,
      "in two",
    ]);
    const beyond = { token: host.token, headers: { range: "bytes=999-" } };
    expect((await api.get(at(digest, layer.digest), beyond)).status).toBe(416);
    expect((await api.get(at(digest, world.DIGEST), { token: host.token })).status).toBe(404);
    expect((await api.get(at(digest), { token: other.token })).status).toBe(404);
    expect((await api.get(at(digest))).status).toBe(403);
  });
});

it("is told by doctor, as what the bucket has", async () => {
  await shipped();
  await send(bytesOf("unfinished"));
  const { checks } = await (await api.get("/api/v1/doctor")).json<{
    checks: { id: string; detail: string }[];
  }>();
  expect(checks.find(({ id }) => id === "control.images")?.detail).toBe(
    "keeps 1 image of 1 app for hosts, 145 B, 10 B of it of unfinished uploads",
  );
});

describe("what no release needs", () => {
  const sweep = () => sweepImages(api.env, world.db, api.time);

  it("goes a day later: an image, and uploads that nobody finished; what can be rolled back to stays", async () => {
    const first = await shipped("first");
    const second = await shipped("second");
    await send(bytesOf("unfinished"));
    await world.release(environmentId, {
      digest: first.digest,
      image: first.image,
      servingAt: api.time,
      endedAt: api.time,
      state: "superseded",
    });
    expect(await sweep()).toBe(0);
    api.time += DAY_MS + 1;
    // The second's layer in two parts, its configuration, which was there already, and the unfinished one.
    expect(await sweep()).toBe(4);
    expect(await objects()).toBe(3);
    expect((await known({ blobs: [first.layer.digest, second.layer.digest] })).blobs).toEqual([first.layer]);
    await world.db.update(environments).set({ deletedAt: api.time });
    api.time += DAY_MS + 1;
    await sweep();
    await sweep();
    expect(await objects()).toBe(0);
  });

  it("is kept while a release that names it waits for its turn", async () => {
    const { image } = await shipped();
    await world.release(environmentId, { image, state: "queued" });
    api.time += DAY_MS + 1;
    expect(await sweep()).toBe(0);
    const again = await api.post("/api/v1/apps/shop/envs/production/releases?dryRun=1", { image });
    expect(again.status).toBe(200);
  });
});
