import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { TestProject } from "vitest/node";
import type { Fault } from "./faults.ts";
import { API_TOKEN, type Cloudflare, type CloudflareOptions, startCloudflare } from "./server.ts";
import { ACCOUNT, type DnsRecord, type WorkerRoute } from "./world.ts";

/** What a test in workerd may ask of the stand-in behind its API, one at a time. */
export type Backstage =
  | { readonly do: "reset"; readonly options?: CloudflareOptions }
  | { readonly do: "fail"; readonly fault: Fault }
  | { readonly do: "heal" }
  | { readonly do: "look" }
  /** cloudflared is there, so many times. */
  | { readonly do: "connect"; readonly connections: number }
  /** What somebody else made. */
  | { readonly do: "put"; readonly record?: DnsRecord; readonly route?: WorkerRoute }
  /** The record or route is taken away again. */
  | { readonly do: "take"; readonly id: string }
  | { readonly do: "delete tunnel"; readonly id: string };

const PATH = "/backstage";

/** Runs the stand-in beside the tests, and binds control to it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cloudflare = await startCloudflare();
  const backstage = createServer(async (request, response) => {
    // A port that was another's a moment ago still gets that one's visitors.
    if (request.url !== PATH) return void response.writeHead(404).end();
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(perform(cloudflare, await asked(request))));
  });
  await once(backstage.listen(0, "127.0.0.1"), "listening");
  project.provide("cloudflare", {
    CLOUDFLARE_API_URL: cloudflare.url,
    CLOUDFLARE_API_TOKEN: API_TOKEN,
    CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
    SLOT_ZONE: "example.com",
    SLOT_ZONE_ID: cloudflare.state.zones[0]?.id ?? "",
    EDGE_WORKER: "sluice-edge",
    BACKSTAGE: `http://127.0.0.1:${(backstage.address() as AddressInfo).port}${PATH}`,
  });
  return async () => {
    backstage.close();
    await cloudflare.close();
  };
}

const asked = async (request: IncomingMessage): Promise<Backstage> => JSON.parse(await text(request));

function perform(cloudflare: Cloudflare, act: Backstage): unknown {
  const { state } = cloudflare;
  if (act.do === "reset") cloudflare.reset(act.options);
  else if (act.do === "fail") cloudflare.fail(act.fault);
  else if (act.do === "heal") cloudflare.heal();
  else if (act.do === "connect") for (const tunnel of state.tunnels) tunnel.connections = act.connections;
  else if (act.do === "delete tunnel") {
    for (const tunnel of state.tunnels) if (tunnel.id === act.id) tunnel.deletedAt = "2026-11-25T00:00:00Z";
  } else if (act.do === "take") {
    for (const all of [state.records, state.routes]) {
      const at = all.findIndex(({ id }) => id === act.id);
      if (at >= 0) all.splice(at, 1);
    }
  } else if (act.do === "put") {
    if (act.record) state.records.push(act.record);
    if (act.route) state.routes.push(act.route);
  }
  const { zones, records, tunnels, routes, accessApps, accessPolicies, serviceTokens } = cloudflare.state;
  return { log: cloudflare.log, zones, records, tunnels, routes, accessApps, accessPolicies, serviceTokens };
}

declare module "vitest" {
  interface ProvidedContext {
    cloudflare: Record<string, string>;
  }
}
