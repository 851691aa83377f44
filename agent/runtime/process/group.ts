import type { ChildProcess } from "node:child_process";
import path from "node:path";
import { failed, type Outcome, words } from "../../outcome.ts";
import type { Exit } from "../runtime.ts";

/** A full disk or a missing right is an expected thing on somebody's host. */
export async function asOutcome<T>(call: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  try {
    return await call();
  } catch (thrown) {
    return failed("runtime_unavailable", `the process runtime can't work on this host: ${words(thrown)}`);
  }
}

/** The little of the agent's own environment an app needs. The rest, tokens among it, is not for apps. */
export function hostEnv(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) =>
    ["HOME", "LANG", "TMPDIR", "TZ", "USER"].includes(name),
  );
  const path_ = [path.dirname(process.execPath), process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin"];
  return { ...Object.fromEntries(kept), PATH: path_.join(path.delimiter) };
}

/** How a child of ours ends, without its end being missed before anybody asks. */
export const exitOf = (child: ChildProcess): Promise<Exit> =>
  new Promise((resolve) => {
    child.once("exit", (exitCode, signal) =>
      resolve({ ...(exitCode !== null && { exitCode }), ...(signal && { signal }) }),
    );
  });

/** Sends a signal to a process and all it started. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // Nobody left in the group is what the signal was for.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
