import { describe, expect, test } from "vitest";
import { anInstance, at } from "../../support/cli/fake-api.ts";
import { page, run } from "../calls.ts";

const aHost = {
  id: "host_1",
  name: "web-1",
  labels: { tier: "web" },
  runtime: "docker",
  agentVersion: "0.1.0",
  state: "online",
  lastSeenAt: at(0),
  clockSkewMs: 12,
  facts: null,
  factsAt: null,
  rotateAt: null,
  slots: { total: 8, used: 1, reserved: 2, free: 5 },
  instances: [anInstance()],
  createdAt: at(0),
};
const aToken = {
  id: "tok_1",
  name: "ci",
  role: "deployer",
  app: "shop",
  environment: null,
  createdAt: at(0),
  expiresAt: at(86_400_000),
  revokedAt: null,
  lastUsedAt: null,
};

describe.concurrent("hosts and token", () => {
  test("hosts lists them on stdout", async () => {
    const { stdout } = await run(["hosts"], { "GET /api/v1/hosts": page(aHost) });
    expect(stdout).toMatch(/web-1 +online +docker +1\/8 +5/);
  });

  test("hosts show has its instances", async () => {
    const { stdout } = await run(["hosts", "show", "web-1"], {
      "GET /api/v1/hosts/web-1": (_a, answer) => answer.json(200, aHost),
    });
    expect(stdout).toContain("1 used, 2 reserved, 5 free of 8");
    expect(stdout).toMatch(/3 +v2 +ready/);
  });

  test("hosts show says what the host says of itself, and warns of a wrong clock on stderr", async () => {
    const facts = {
      os: "Debian 12",
      arch: "x64",
      node: "v24.1.0",
      engine: { version: "27.1", apiVersion: "1.46", storageDriver: "overlay2" },
      disk: { path: "/var/lib/docker", totalBytes: 80e9, freeBytes: 8e9 },
      policy: { file: "/etc/sluice/policy.yaml", images: ["ghcr.io/acme/*"], volumes: [] },
      tunnel: { state: "down", version: "2026.8.2", configVersion: 3, cause: "UDP 7844 is blocked" },
    };
    const { stdout, stderr } = await run(["hosts", "show", "web-1"], {
      "GET /api/v1/hosts/web-1": (_a, answer) =>
        answer.json(200, {
          ...{ ...aHost, facts, factsAt: at(0), rotateAt: at(0), clockSkewMs: -7_240 },
          ...{ sharedAt: at(0), staleTokenAt: at(0) },
        }),
    });
    for (const words of [
      "Debian 12 x64, node v24.1.0",
      "27.1, API 1.46, overlay2",
      "8.0 GB free of 80.0 GB (10 %) at /var/lib/docker",
      "/etc/sluice/policy.yaml: images ghcr.io/acme/*; volumes none",
      "down, cloudflared 2026.8.2, configuration 3: UDP 7844 is blocked",
      "two machines used it",
      "one of before was tried",
      "a new one was asked for",
    ])
      expect(stdout).toContain(words);
    expect(stderr).toContain("the clock of web-1 is 7.2 s behind control");
  });

  test("hosts keeps still about a clock that is right enough", async () => {
    const { stderr } = await run(["hosts"], { "GET /api/v1/hosts": page({ ...aHost, clockSkewMs: 5_000 }) });
    expect(stderr).not.toContain("clock");
  });

  test("hosts rotate says when the agent gets its new token", async () => {
    const { stderr } = await run(["hosts", "rotate", "web-1"], {
      "POST /api/v1/hosts/web-1/rotate": (_a, answer) => answer.json(202, { ...aHost, rotateAt: at(0) }),
    });
    expect(stderr).toContain("its agent gets it within a minute");
  });

  test("hosts enroll takes labels in one list, and says what it installs", async () => {
    const flags = ["--labels", "tier=web,zone=a", "--container", "--origin-base", "http://10.0.0.7"];
    const { stdout, stderr, asked } = await run(["hosts", "enroll", "web-2", ...flags], {
      "POST /api/v1/hosts/enrollments": (_asked, answer) =>
        answer.json(201, {
          name: "web-2",
          token: "enr_1",
          expiresAt: at(3_600_000),
          command: "docker run sluice-agent:latest",
          agentSha256: "ab12",
        }),
    });
    expect(stdout).toBe("docker run sluice-agent:latest\n");
    expect(stderr).toContain("SHA-256 ab12");
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      name: "web-2",
      labels: { tier: "web", zone: "a" },
      slots: 8,
      expiresInMinutes: 60,
      container: "sluice-agent:latest",
      originBase: "http://10.0.0.7",
    });
  });

  test("hosts show has its tunnel, and why it is not ready yet", async () => {
    const tunnel = {
      state: "pending",
      cause: "the API token may not make the tunnel",
      name: "sluice-web-1-pxmy3m6y",
      id: null,
      configVersion: null,
      nextAttemptAt: null,
    };
    const { stdout } = await run(["hosts", "show", "web-1"], {
      "GET /api/v1/hosts/web-1": (_a, answer) => answer.json(200, { ...aHost, tunnel }),
    });
    expect(stdout).toMatch(/tunnel +pending, sluice-web-1-pxmy3m6y: the API token may not make the tunnel/);
  });

  test("hosts rotate-tunnel asks for a new token, and shows none", async () => {
    const { code, stdout, stderr } = await run(["hosts", "rotate-tunnel", "web-1"], {
      "POST /api/v1/hosts/web-1/tunnel/rotate": (_a, answer) => answer.json(200, { host: "web-1", rev: 2 }),
    });
    expect([code, stdout]).toEqual([0, ""]);
    expect(stderr).toContain("the tunnel of web-1 has a new token");
  });

  test("hosts enroll prints the command alone on stdout", async () => {
    const { stdout, asked } = await run(["hosts", "enroll", "web-2", "--label", "tier=web", "--slots", "4"], {
      "POST /api/v1/hosts/enrollments": (_asked, answer) =>
        answer.json(201, {
          name: "web-2",
          token: "enr_1",
          expiresAt: at(3_600_000),
          command: "sluice-agent enroll enr_1",
        }),
    });
    expect(stdout).toBe("sluice-agent enroll enr_1\n");
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      name: "web-2",
      labels: { tier: "web" },
      slots: 4,
      expiresInMinutes: 60,
    });
  });

  test.each([{ args: ["hosts", "remove", "web-1"] }, { args: ["token", "revoke", "tok_1"] }])(
    "$args without a terminal names --yes and changes nothing",
    async ({ args }) => {
      const { code, stderr, asked } = await run(args, {
        "GET /api/v1/hosts/web-1": (_asked, answer) => answer.json(200, aHost),
      });
      expect(code).toBe(1);
      expect(stderr).toContain("--yes");
      expect(asked.some((call) => call.method === "DELETE")).toBe(false);
    },
  );

  test("with --yes they do it", async () => {
    const host = await run(["hosts", "remove", "web-1", "--yes"], {
      "GET /api/v1/hosts/web-1": (_asked, answer) => answer.json(200, aHost),
      "DELETE /api/v1/hosts/web-1": (_asked, answer) => answer.empty(204),
    });
    const token = await run(["token", "revoke", "tok_1", "-y"], {
      "DELETE /api/v1/tokens/tok_1": (_asked, answer) => answer.empty(204),
    });
    expect([host.code, token.code]).toEqual([0, 0]);
    expect(host.asked.at(-1)?.method).toBe("DELETE");
  });

  test("token create prints the token alone, and its scope is only what the flags say", async () => {
    const { stdout, asked } = await run(["token", "create", "ci", "--role", "deployer"], {
      "POST /api/v1/tokens": (_asked, answer) => answer.json(201, { ...aToken, token: "slu_secret" }),
    });
    expect(stdout).toBe("slu_secret\n");
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({ name: "ci", role: "deployer", expiresInDays: 90 });
  });

  test("token list never shows a secret, and pages to the end", async () => {
    const { stdout } = await run(["token", "list"], {
      "GET /api/v1/tokens": (asked, answer) =>
        asked.query.get("cursor") === "next"
          ? answer.json(200, { items: [{ ...aToken, id: "tok_2" }], nextCursor: null })
          : answer.json(200, { items: [aToken], nextCursor: "next" }),
    });
    expect(stdout).toContain("tok_1");
    expect(stdout).toContain("tok_2");
  });
});
