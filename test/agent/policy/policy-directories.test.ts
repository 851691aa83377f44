import { execFile } from "node:child_process";
import { mkdir, rm, symlink } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { beforeEach, describe, expect, test } from "vitest";
import {
  base,
  digest,
  image,
  mount,
  policyOf,
  standing,
  startOf,
  usePolicyFolders,
  verdict,
  write,
} from "./policy-stage.ts";

usePolicyFolders();

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
