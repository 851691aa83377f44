import { z } from "zod";
import { diskFull, saysDiskFull } from "../../host/disk.ts";
import { failed, type Outcome, words } from "../../outcome.ts";
import { NotAdmitted } from "./admission.ts";
import { CALL_TIMEOUT_MS } from "./calls.ts";
import { type Engine, EngineUnavailable } from "./engine.ts";

const infoSchema = z.object({ DockerRootDir: z.string() });

/** Where the engine keeps images, containers and volumes. */
export async function askRoot(engine: Engine): Promise<string> {
  const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
  return (await engine.json(infoSchema, "GET", "/info", { signal })).DockerRootDir;
}

/** The same; its usual place when it can't be asked: it is only asked beside something else, which goes on without. */
export const rootOf = (engine: Engine): Promise<string> => askRoot(engine).catch(() => "/var/lib/docker");

/** The engine's trouble in making or starting a container, where it is one of those that a person can mend. */
export async function knownFailure(
  engine: Engine,
  { image, hostPort }: { image: string; hostPort?: number | undefined },
  thrown: unknown,
): Promise<Outcome<never> | undefined> {
  const said = words(thrown);
  if (thrown instanceof EngineUnavailable) return failed("runtime_unavailable", said);
  if (thrown instanceof NotAdmitted) return failed("policy_refused", said);
  if (saysDiskFull(said))
    return diskFull(`a container of ${image} can't be made (${said})`, await rootOf(engine));
  const directory = /bind source path does not exist: (.+)$/.exec(said)?.[1];
  if (directory !== undefined) {
    return failed(
      "start_failed",
      `the directory ${directory} does not exist on this host: make it, owned by the user the app runs as, or use a volume by name instead`,
    );
  }
  if (hostPort !== undefined && /port is already allocated|address already in use/i.test(said)) {
    return failed(
      "port_in_use",
      `port ${hostPort} on this host is taken by something else (${said}): stop it, or move the agent's --port-base`,
    );
  }
  if (/no such image/i.test(said))
    return failed("image_not_found", `this host has no image ${image}: ${said}`);
  return undefined;
}
