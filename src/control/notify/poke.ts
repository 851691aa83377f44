import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";

const NAME = "notifier";

/** Has the notifier look. Nobody depends on it: the sweep does so each minute. */
export const pokeNotifier = (
  env: Pick<ControlEnv, "NOTIFIER">,
  what?: { readonly changed: boolean },
): Promise<void> =>
  env.NOTIFIER.getByName(NAME)
    .poke(what)
    .catch((error) => logFailure("notify.poke_failed", error));
