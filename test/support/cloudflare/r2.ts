import { z } from "zod";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Endpoint, Refusal } from "./api.ts";
import type { World } from "./world.ts";

const BASE = "/accounts/:account/r2/buckets";
const READ = "Account › Workers R2 Storage › Read";
const EDIT = "Account › Workers R2 Storage › Edit";

const newBucket = z.strictObject({ name: z.string().min(3).max(63), locationHint: z.string().optional() });

/** R2 buckets; what is in them is no business of setup's. */
export const r2 = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: BASE,
    permission: READ,
    query: ["per_page", "cursor"],
    handle: (call) => ({ buckets: ofAccount(world, call).buckets }),
  },
  {
    method: "GET",
    path: `${BASE}/:bucket`,
    permission: READ,
    handle: (call) => {
      const found = ofAccount(world, call).buckets.find(({ name }) => name === call.params.bucket);
      if (!found) throw new Refusal(404, 10_006, "The specified bucket does not exist.");
      return found;
    },
  },
  {
    method: "POST",
    path: BASE,
    permission: EDIT,
    body: newBucket,
    handle: (call) => {
      const bucket = bodyOf(call, newBucket);
      if (ofAccount(world, call).buckets.some(({ name }) => name === bucket.name))
        throw new Refusal(409, 10_004, "The bucket you tried to create already exists, and you own it.");
      world.buckets.push(bucket);
      return bucket;
    },
  },
];
