import { z } from "zod";
import { time } from "../scalars.ts";

export const createPreviewSchema = z
  .strictObject({
    expiresInMinutes: z.number().int().min(1).max(10_080).default(60),
    /** A pass is good for one hostname; default: the environment's first. */
    hostname: z.string().max(253).optional(),
  })
  .meta({ id: "CreatePreview" });

/** A signed pass that leads the bearer to one release, whatever its weight. */
export const previewSchema = z
  .object({
    release: z.string(),
    url: z.string(),
    header: z.object({ name: z.string(), value: z.string() }),
    cookie: z.string(),
    expiresAt: time,
  })
  .meta({ id: "Preview" });
export type PreviewView = z.infer<typeof previewSchema>;
