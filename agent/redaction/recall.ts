import type { Outcome } from "../outcome.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { scopeOf, secretsAmong } from "./scope.ts";
import type { Secrets } from "./secrets.ts";

/** What an agent before this one injected: containers have the values, the journal knows which they are. */
export async function recallSecrets(
  runtime: Pick<Runtime, "injected">,
  secrets: Secrets,
  names: Readonly<Record<string, readonly string[]>>,
): Promise<Outcome<void>> {
  const injected = await runtime.injected();
  if (!injected.ok) return injected;
  for (const { env, ...owner } of injected.value) {
    const scope = scopeOf(owner);
    secrets.learn(scope, secretsAmong(env, names[scope]));
  }
  return { ok: true, value: undefined };
}
