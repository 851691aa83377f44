import type { Images } from "../host/images.ts";
import type { Instances } from "../instances/instances.ts";
import type { Journal } from "../journal.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Hooks } from "./hooks.ts";

/** What a job may use. */
export interface JobContext {
  runtime: Runtime;
  instances: Instances;
  hooks: Hooks;
  images: Images;
  journal: Journal;
  /** Epoch ms by this host's clock. */
  deadlineAt: number;
  /** Aborts when the job's time is over, or when the agent stops. */
  signal: AbortSignal;
  /** Tells control how far it is; the newest message wins. */
  progress(message: string): void;
}

/** Reason of the abort when it is the agent that ends, not the job's time. */
export const AGENT_STOPS = "agent stops";
