import { z } from "zod";
import { housing } from "./container.ts";
import { instanceSpecSchema } from "./instance.ts";
import { id, ms } from "./wire.ts";

/** A long-lived container beside the instances (a database, a cache): changed on a person's command, never by a deploy. */
export const accessorySpecSchema = z.strictObject({
  /** `<app>-<environment>-<name>`: names it on the host. */
  accessory: id.max(128),
  /** Under which the instances of its environment reach it on their network. */
  name: z.string(),
  app: z.string(),
  environment: z.string(),
  image: z.string(),
  command: z.array(z.string()).min(1).optional(),
  env: z.record(z.string(), z.string()),
  resources: instanceSpecSchema.shape.resources,
  logging: instanceSpecSchema.shape.logging,
  stopGraceMs: ms,
  ...housing,
});
export type AccessorySpec = z.infer<typeof accessorySpecSchema>;
