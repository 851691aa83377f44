/** Control's Worker as tests run it: within Cloudflare's limits (test/support/runtime-limits.ts), which the local runtime does not keep. */
import type { ControlEnv } from "../../src/control/env.ts";
import control, * as parts from "../../src/control/worker.ts";
import { asInvocation } from "./support/invocation.ts";
import { limitedObject, withinLimits } from "./support/within-limits.ts";

// A class that is not named below is there all the same, without limits.
export * from "../../src/control/worker.ts";
export const Auditor = limitedObject(parts.Auditor);
export const Coordinator = limitedObject(parts.Coordinator);
export const HostLink = limitedObject(parts.HostLink);
export const LogRelay = limitedObject(parts.LogRelay);
export const Meter = limitedObject(parts.Meter);
export const Notifier = limitedObject(parts.Notifier);

export default {
  fetch: (request, env, ctx) => asInvocation(() => control.fetch(request, withinLimits({ ...env }), ctx)),
  scheduled: (controller, env) => asInvocation(() => control.scheduled(controller, withinLimits({ ...env }))),
} satisfies ExportedHandler<ControlEnv>;
