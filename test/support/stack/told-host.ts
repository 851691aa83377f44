import type { Client } from "../../../src/client/index.ts";
import type { HostFactsReport } from "../../../src/protocol/agent/host-facts.ts";

/** A drained host without an agent: what one would say of its engine and its tunnel is said by the test. */
export interface ToldHost {
  /** One poll, with everything that an agent can say of its host. Each has seen more than the one before. */
  poll(): Promise<void>;
}

/** Enrols it. Nothing is ever placed there. */
export async function toldHost(client: Client, controlUrl: string, name: string): Promise<ToldHost> {
  const { token } = await client.hosts.createEnrollment({ name, slots: 1 });
  const post = async (path: string, bearer: string | null, body: object): Promise<unknown> => {
    const authorization = bearer === null ? {} : { authorization: `Bearer ${bearer}` };
    const headers = { "content-type": "application/json", ...authorization };
    const text = JSON.stringify({ protocol: 1, agentVersion: "1.0.0", ...body });
    const response = await fetch(`${controlUrl}/agent/v1/${path}`, { method: "POST", headers, body: text });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const origin = { runtime: "docker", portBase: 40_000, originBase: "http://127.0.0.1" };
  const enrolled = (await post("enroll", null, { token, ...origin })) as { token: string };
  await client.hosts.drain(name);
  let polls = 0;
  return {
    async poll() {
      polls += 1;
      const now = { clock: Date.now(), boot: "boot-1", wantsJobs: false, instances: [] };
      await post("poll", enrolled.token, { ...now, facts: factsAfter(polls) });
    },
  };
}

const factsAfter = (polls: number): HostFactsReport => ({
  ...{ os: "linux", arch: "x64", node: "v24" },
  disk: { path: "/", freeBytes: 20e9, totalBytes: 100e9 },
  tunnel: { state: "connected", readyConnections: 4 },
  usage: {
    uptimeMs: polls * 1_000,
    agentBytes: 80e6,
    memory: { totalBytes: 8e9, availableBytes: 2e9 },
    engineMs: 12,
    containers: { running: 3, paused: 0, stopped: 1 },
    jobs: { done: polls, failed: 1 },
    cloudflared: { requests: 100 * polls, errors: polls },
  },
});
