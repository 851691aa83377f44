import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import { objectIn } from "../objects.ts";

const NAME = "notifier";

/** Has the notifier look. Nobody depends on it: the sweep does so each minute. */
export const pokeNotifier = (
  env: Pick<ControlEnv, "NOTIFIER" | "REGION">,
  what?: { readonly changed: boolean },
): Promise<void> =>
  objectIn(env.NOTIFIER, NAME, env)
    .poke(what)
    .catch((error) => logFailure("notify.poke_failed", error));
