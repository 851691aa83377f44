import { createApp } from "./app.ts";
import type { ControlEnv } from "./env.ts";
import { sweep } from "./sweep.ts";

export { Auditor } from "./audit/auditor.ts";
export { Coordinator } from "./environment/coordinator.ts";
export { EdgePort } from "./environment/edge-port.ts";
export { HostLink } from "./hosts/link.ts";
export { Meter } from "./meter/meter.ts";
export { Notifier } from "./notify/notifier.ts";
export { LogRelay } from "./streams/log-relay.ts";

const app = createApp();

/** Control's Worker: the HTTP API, the sweep of each minute, and the Durable Objects. */
export default {
  fetch: (request, env, ctx) => app.fetch(request, env, ctx),
  scheduled: async (controller, env) => {
    await sweep(env, controller.scheduledTime);
  },
} satisfies ExportedHandler<ControlEnv>;
