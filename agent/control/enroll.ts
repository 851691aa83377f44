import { addressProblem } from "../../src/protocol/address.ts";
import { type Enroll, enrollAnswerSchema } from "../../src/protocol/agent/enroll.ts";
import { AGENT_PROTOCOL } from "../../src/protocol/agent/wire.ts";
import { AGENT_VERSION } from "../version.ts";
import { createControl } from "./control.ts";
import { type Credentials, writeCredentials } from "./credentials.ts";

const TIMEOUT_MS = 30_000;

export interface EnrollOptions extends Pick<Enroll, "token" | "runtime" | "portBase" | "originBase"> {
  url: string;
  /** State directory that gets the host's credentials. */
  directory: string;
}

/** Trades a one-time token for this host's credentials and keeps them. Throws with control's words when it refuses. */
export async function enroll(options: EnrollOptions): Promise<Credentials> {
  const { url, directory, token, runtime, portBase, originBase } = options;
  refuseUnsafe(url);
  const control = createControl({ url, timeoutMs: TIMEOUT_MS });
  const body: Enroll = {
    protocol: AGENT_PROTOCOL,
    agentVersion: AGENT_VERSION,
    token,
    runtime,
    portBase,
    ...(originBase && { originBase }),
  };
  const answer = await control("/agent/v1/enroll", body, enrollAnswerSchema);
  if (!answer.ok) {
    const next =
      answer.kind === "refused"
        ? "make a new token with `sluice hosts enroll`"
        : "is control reachable from this host?";
    throw new Error(`this host could not be enrolled at ${url}: ${answer.detail}; ${next}`);
  }
  const ports = answer.value.slots.map(({ hostPort }) => hostPort);
  const credentials: Credentials = {
    ...{ url, token: answer.value.token, host: answer.value.host, runtime },
    ...(ports.length > 0 && { ports: { first: Math.min(...ports), last: Math.max(...ports) } }),
  };
  await writeCredentials(directory, credentials);
  return credentials;
}

/** Throws before anything secret is sent where others can read it. */
export function refuseUnsafe(url: string): void {
  const problem = addressProblem(url);
  if (problem) throw new Error(`this agent sends nothing to its control plane: ${problem}`);
}
