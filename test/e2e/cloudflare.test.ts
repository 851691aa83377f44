import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_TOKEN, type Cloudflare, startCloudflare } from "../support/cloudflare/server.ts";
import { ask } from "../support/http-client.ts";
import { Installation } from "../support/stack/installation.ts";

/** Control, edge, an agent and the command line, with a stand-in for Cloudflare's account: nothing here reaches Cloudflare. */
const WITHIN = { timeout: 90_000 };

let cloudflare: Cloudflare;
let installation: Installation;

beforeAll(async () => {
  cloudflare = await startCloudflare();
  installation = await Installation.start({
    hosts: 1,
    bindings: {
      CLOUDFLARE_API_URL: cloudflare.url,
      CLOUDFLARE_API_TOKEN: API_TOKEN,
      CLOUDFLARE_ACCOUNT_ID: cloudflare.state.account.id,
      SLOT_ZONE: "example.com",
      SLOT_ZONE_ID: cloudflare.state.zones[0]?.id ?? "",
      EDGE_WORKER: "sluice-edge",
    },
  });
});
afterAll(async () => {
  await installation?.close();
  await cloudflare?.close();
});

/** The calls since the last time this was asked, without ids that differ from run to run. */
let seen = 0;
function calls(): string[] {
  const fresh = cloudflare.log.slice(seen);
  seen = cloudflare.log.length;
  return fresh.map(({ method, path, status }) => {
    const short = decodeURIComponent(path)
      .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "TUNNEL")
      .replace(/accounts\/[0-9a-f]{32}/, "accounts/ACCOUNT")
      .replace(/zones\/[0-9a-f]{32}/, "zones/ZONE")
      .replace(/(routes|dns_records)\/[0-9a-f]{32}/, "$1/ID")
      .replace(/host_[0-9a-z]+/, "HOST")
      .replace(/name=sluice-tunneled-[0-9a-z]+/, "name=sluice-tunneled-…");
    return `${method} ${short} ${status}`;
  });
}

/** A host as an agent enrols it that has no address of its own. */
async function enrollTunneled(): Promise<void> {
  const { token } = await installation.client.hosts.createEnrollment({ name: "tunneled", slots: 2 });
  const body = { protocol: 1, agentVersion: "1.0.0", token, runtime: "docker", portBase: 21_000 };
  const response = await fetch(`${installation.controlUrl}/agent/v1/enroll`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(200);
}

describe("an installation at Cloudflare", () => {
  it("makes a host's tunnel, leads an app's hostname to the edge, deploys without a call, and removes it all", async () => {
    await enrollTunneled();
    const state = async () => (await installation.client.hosts.get("tunneled")).tunnel?.state;
    await expect.poll(state, WITHIN).toBe("ready");
    expect(calls()).toEqual([
      "GET /accounts/ACCOUNT/cfd_tunnel?name=sluice-tunneled-…&is_deleted=false 200",
      "POST /accounts/ACCOUNT/cfd_tunnel 200",
      "GET /accounts/ACCOUNT/cfd_tunnel/TUNNEL/configurations 404",
      "PUT /accounts/ACCOUNT/cfd_tunnel/TUNNEL/configurations 200",
      "GET /zones/ZONE/workers/routes 200",
      "POST /zones/ZONE/workers/routes 200",
      "POST /zones/ZONE/workers/routes 200",
      "GET /zones/ZONE/dns_records?comment.exact=sluice host HOST&per_page=500 200",
      "POST /zones/ZONE/dns_records/batch 200",
    ]);

    const app = { hostnames: ["shop.example.com"], replicas: 1 };
    const applied = await installation.sluice("shop", app, ["apply"]);
    expect(applied.code).toBe(0);
    const routes = async () =>
      (await installation.client.environments.get("shop", "production")).environment.routes;
    await expect
      .poll(routes, WITHIN)
      .toEqual([{ hostname: "shop.example.com", state: "ready", cause: null }]);
    expect(calls()).toEqual([
      "GET /zones?name=shop.example.com&account.id=0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a 200",
      "GET /zones?name=example.com&account.id=0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a 200",
      "GET /zones/ZONE/dns_records?name.exact=shop.example.com&per_page=500 200",
      "GET /zones/ZONE/workers/routes 200",
      "POST /zones/ZONE/workers/routes 200",
      "GET /zones/ZONE/dns_records?name.exact=*.example.com&per_page=500 200",
      "POST /zones/ZONE/dns_records 200",
    ]);

    await installation.deploy("shop", app, "v1");
    const answer = await ask({ port: Number(new URL(installation.edgeUrl).port), host: "shop.example.com" });
    expect(answer.status).toBe(200);
    expect(calls()).toEqual([]);

    const shown = await installation.sluice("shop", app, ["hosts", "show", "tunneled"]);
    expect(shown.stdout).toMatch(/tunnel +ready, sluice-tunneled-/);
    const rotated = await installation.sluice("shop", app, ["hosts", "rotate-tunnel", "tunneled"]);
    expect([rotated.code, calls()]).toEqual([0, ["PATCH /accounts/ACCOUNT/cfd_tunnel/TUNNEL 200"]]);

    await installation.sluice("shop", app, ["hosts", "remove", "tunneled", "--yes"]);
    await expect
      .poll(() => cloudflare.state.routes.map(({ pattern }) => pattern))
      .toEqual(["shop.example.com/*"]);
    expect(calls()).toEqual([
      "GET /zones/ZONE/dns_records?comment.exact=sluice host HOST&per_page=500 200",
      "POST /zones/ZONE/dns_records/batch 200",
      "DELETE /accounts/ACCOUNT/cfd_tunnel/TUNNEL/connections 200",
      "DELETE /accounts/ACCOUNT/cfd_tunnel/TUNNEL 200",
      "DELETE /zones/ZONE/workers/routes/ID 200",
      "DELETE /zones/ZONE/workers/routes/ID 200",
    ]);
    expect(cloudflare.state.records.map(({ name }) => name)).toEqual(["shop.example.com"]);
  });

  it("says in the status why a hostname does not lead here", async () => {
    const app = { hostnames: ["shop.elsewhere.org"], replicas: 1 };
    await installation.sluice("shop", app, ["apply"]);
    await expect
      .poll(async () => (await installation.sluice("shop", app, ["status"])).stdout, WITHIN)
      .toContain("✖ shop.elsewhere.org: no zone of this Cloudflare account holds shop.elsewhere.org");
  });
});
