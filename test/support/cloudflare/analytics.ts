import { z } from "zod";
import { bodyOf, type Endpoint, Refusal } from "./api.ts";
import type { World } from "./world.ts";

const graphql = z.strictObject({ query: z.string(), variables: z.record(z.string(), z.string()) });

/** Cloudflare's GraphQL analytics, of which Sluice reads a Worker's CPU time. */
export const analytics = ({ unknowns }: World): Endpoint[] => [
  {
    method: "POST",
    path: "/graphql",
    permission: null,
    body: graphql,
    handle: (call) => {
      if (!bodyOf(call, graphql).query.includes("workersInvocationsAdaptive"))
        throw new Refusal(400, 1004, "unknown data set");
      if (unknowns.cpuP99 === null) throw new Refusal(403, 10_000, "not authorized for that account");
      const quantiles = { cpuTimeP50: 900, cpuTimeP99: unknowns.cpuP99 };
      return { viewer: { accounts: [{ workersInvocationsAdaptive: [{ quantiles }] }] } };
    },
  },
];
