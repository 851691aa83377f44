import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";

/**
 * A `systemctl` for a test's PATH that runs the one unit below a root: it reads ExecStart and the environment as systemd does,
 * and ends the unit's main process only, as `KillMode=process` says. What it was asked is in `asked`.
 */
export class FakeSystemd {
  readonly bin: string;
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
    this.bin = path.join(root, "fake-bin");
  }

  static async install(root: string): Promise<FakeSystemd> {
    const made = new FakeSystemd(root);
    await mkdir(made.bin, { recursive: true });
    const program = path.join(made.bin, "systemctl");
    await writeFile(program, SYSTEMCTL.replaceAll("@ROOT@", root));
    await chmod(program, 0o755);
    return made;
  }

  async asked(): Promise<string[]> {
    return (await readFile(path.join(this.#root, "asked"), "utf8").catch(() => ""))
      .split("\n")
      .filter(Boolean); // nothing so far
  }

  /** Of the unit's main process; 0: it does not run. */
  async pid(): Promise<number> {
    return Number(await readFile(path.join(this.#root, "pid"), "utf8").catch(() => "0")); // never started
  }

  async stop(): Promise<void> {
    const pid = await this.pid();
    if (pid === 0) return;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
    await rm(path.join(this.#root, "pid"), { force: true });
  }
}

const SYSTEMCTL = `#!/bin/sh
echo "$*" >>'@ROOT@/asked'
unit='@ROOT@/etc/systemd/system/sluice-agent.service'
end() {
  [ -f '@ROOT@/pid' ] || return 0
  pid=$(cat '@ROOT@/pid')
  kill "$pid" 2>/dev/null
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  rm -f '@ROOT@/pid'
}
case "$1" in
  restart)
    end
    setsid $(sed -n 's/^ExecStart=//p' "$unit") >>'@ROOT@/log' 2>&1 </dev/null &
    echo $! >'@ROOT@/pid'
    ;;
  disable) end ;;
esac
`;
