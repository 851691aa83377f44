import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const STOPPED_WITHIN_MS = 10_000;
const READY_WITHIN_MS = 20_000;

export interface DaemonSpec {
  command: string;
  args: string[];
  /** Who runs it; this process's own user when absent. */
  user?: { uid: number; gid: number };
  /** The signal that ends it in order. */
  stopSignal: NodeJS.Signals;
  /** Throws as long as it does not serve. */
  probe: () => Promise<void>;
}

/** A server of somebody else's that a test starts, stops and starts again. */
export class Daemon {
  readonly #spec: DaemonSpec;
  #child: ChildProcess | undefined;
  #said = "";

  constructor(spec: DaemonSpec) {
    this.#spec = spec;
    // A test run that is cut short leaves nothing behind.
    process.once("exit", () => this.#child?.kill("SIGKILL"));
  }

  async start(): Promise<void> {
    const { command, args, user } = this.#spec;
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/", ...user });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.#said = `${this.#said}${chunk}`.slice(-4_000);
      });
    }
    await once(child, "spawn");
    await this.#serving(child);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill(this.#spec.stopSignal);
    const killer = setTimeout(() => child.kill("SIGKILL"), STOPPED_WITHIN_MS);
    await exit;
    clearTimeout(killer);
  }

  async #serving(child: ChildProcess): Promise<void> {
    const until = Date.now() + READY_WITHIN_MS;
    let reason: unknown;
    while (Date.now() < until && child.exitCode === null) {
      try {
        return await this.#spec.probe();
      } catch (error) {
        reason = error;
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
    throw new Error(`${this.#spec.command} did not serve (${reason}); it said:\n${this.#said}`);
  }
}
