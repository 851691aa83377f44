import { claimAnswerSchema } from "../../src/protocol/agent/claim.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { Answer, Control } from "../control/control.ts";
import type { Images } from "../host/images.ts";
import { failed, type Outcome } from "../outcome.ts";
import { scopeOf, secretsAmong } from "../redaction/scope.ts";
import type { Secrets } from "../redaction/secrets.ts";
import type { Runtime, Started } from "../runtime/runtime.ts";
import { startWithImage } from "./start-with-image.ts";

export interface RemakeDeps {
  runtime: Runtime;
  control: Control;
  images: Images;
  secrets: Secrets;
}

const REMOVED = "its container was removed from outside";

/**
 * Makes the container of an instance again that somebody removed. All of it is known here but its variables, which may be
 * secrets and are kept nowhere: control is asked for them. `instance_gone`: it can't be had on this host any more.
 */
export async function remake(
  spec: InstanceSpec,
  { runtime, control, images, secrets }: RemakeDeps,
  signal: AbortSignal,
): Promise<Outcome<Started>> {
  const claimed = await control(`/agent/v1/instances/${spec.instance}/claim`, {}, claimAnswerSchema);
  if (!claimed.ok) return notClaimed(claimed);
  const { env, environmentId, login, secretNames } = claimed.value;
  // Before the app can print them.
  secrets.learn(scopeOf(spec), [...secretsAmong(env, secretNames), ...(login ? [login.password] : [])]);
  const whole = { spec: { ...spec, env }, environmentId, login };
  const started = await startWithImage(whole, { runtime, images, signal, progress: () => {} });
  if (started.ok || started.error.code === "runtime_unavailable") return started;
  const { message, ...facts } = started.error;
  return failed("instance_gone", `${REMOVED}, and can't be made again here: ${message}`, facts);
}

/** A refused token says nothing about the instance. */
function notClaimed(claimed: Extract<Answer<unknown>, { ok: false }>): Outcome<never> {
  if (claimed.kind === "refused" && claimed.status !== 401)
    return failed(
      "instance_gone",
      `${REMOVED}, and control does not give it to this host again: ${claimed.detail}`,
    );
  return failed(
    "internal",
    `${REMOVED}, and it can be made again only when control answers: ${claimed.detail}`,
  );
}
