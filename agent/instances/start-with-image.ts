import type { RegistryLogin } from "../../src/protocol/agent/image.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import { systemClock } from "../clock.ts";
import { type PullContext, pull } from "../host/pull.ts";
import type { Outcome } from "../outcome.ts";
import type { Started } from "../runtime/runtime.ts";
import { awaitNeeds } from "./needs.ts";

export interface Startable {
  spec: InstanceSpec;
  environmentId: string;
  login?: RegistryLogin | undefined;
}

/** The image was pulled when the release was prepared; a replacement days later may find it pruned. */
export async function startWithImage(
  { spec, environmentId, login }: Startable,
  context: PullContext,
): Promise<Outcome<Started>> {
  const { runtime, signal, images, progress } = context;
  const needed = await awaitNeeds({ spec, runtime, clock: systemClock, signal, progress });
  if (!needed.ok) return needed;
  const started = await runtime.start(spec);
  if (started.ok) await images.used(environmentId, spec.image);
  if (started.ok || started.error.code !== "image_not_found") return started;
  const pulled = await pull({ image: spec.image, login, environmentId }, context);
  if (!pulled.ok || signal.aborted) return pulled.ok ? started : pulled;
  return runtime.start(spec);
}
