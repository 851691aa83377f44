import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { authHeader, registryAuth } from "../../../agent/runtime/docker/registry-auth.ts";
import { parseImageRef } from "../../../agent/runtime/image-ref.ts";

const digest = `sha256:${"a".repeat(64)}`;

test.each([
  ["nginx", { registry: "docker.io", repository: "nginx" }],
  ["acme/shop:v1", { registry: "docker.io", repository: "acme/shop", tag: "v1" }],
  ["ghcr.io/acme/shop:v1", { registry: "ghcr.io", repository: "ghcr.io/acme/shop", tag: "v1" }],
  ["localhost/shop", { registry: "localhost", repository: "localhost/shop" }],
  ["127.0.0.1:5000/shop", { registry: "127.0.0.1:5000", repository: "127.0.0.1:5000/shop" }],
  [
    `127.0.0.1:5000/shop:v1@${digest}`,
    { registry: "127.0.0.1:5000", repository: "127.0.0.1:5000/shop", tag: "v1", digest },
  ],
])("takes %s apart", (ref, parts) => {
  expect(parseImageRef(ref)).toEqual({ kind: "registry", ...parts });
});

test("knows an image id as local", () => {
  expect(parseImageRef(digest)).toEqual({ kind: "local", id: digest });
});

test.each(["", "a b", "shop@sha256:12", "shop@md5:1", `shop@${digest}@${digest}`, "shop:", "file:../x?"])(
  "refuses %j",
  (ref) => {
    expect(parseImageRef(ref)).toBeUndefined();
  },
);

test("uses what docker login left behind, for that registry only", async () => {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-auth-"));
  const auth = Buffer.from("me:pass:word").toString("base64");
  await writeFile(path.join(directory, "config.json"), JSON.stringify({ auths: { "ghcr.io": { auth } } }));
  const header =
    (await registryAuth("ghcr.io", undefined, { DOCKER_CONFIG: directory }))["x-registry-auth"] ?? "";
  expect(JSON.parse(Buffer.from(header, "base64url").toString())).toMatchObject({
    username: "me",
    password: "pass:word",
  });
  expect(await registryAuth("other.io", undefined, { DOCKER_CONFIG: directory })).toEqual({});
  await rm(directory, { recursive: true });
});

test("sends the job's own login rather than the host's, whatever Docker Hub is called, and never to another registry", async () => {
  const login = { registry: "docker.io", username: "me", password: "p" };
  const header = (await registryAuth("docker.io", login))["x-registry-auth"] ?? "";
  expect(JSON.parse(Buffer.from(header, "base64").toString())).toEqual({
    username: "me",
    password: "p",
    serveraddress: "https://index.docker.io/v1/",
  });
  const hub = { ...login, registry: "https://index.docker.io/v1/" };
  expect(await registryAuth("docker.io", hub)).toEqual({ "x-registry-auth": header });
  const env = { DOCKER_CONFIG: "/no/such/directory" };
  expect(await registryAuth("ghcr.io", login, env)).toEqual({});
  expect(await registryAuth("docker.io.evil.com", login, env)).toEqual({});
});

test.each(["p", "pa", "pas", "pass?>~"])(
  "pads the header for password %j: an engine ignores others",
  (password) => {
    const header = authHeader({ password });
    expect(header.length % 4).toBe(0);
    expect(header).not.toMatch(/[+/]/);
  },
);
