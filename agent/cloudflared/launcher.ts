import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, open, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { hostEnv, signalGroup } from "../runtime/process/group.ts";
import { cloudflaredArgs, PASSED_ON } from "./connectors.ts";

/** What a connector is started with. Beside its token lie `<id>.log` and, for a unit, `<id>.env`. */
export interface Start {
  id: string;
  /** Its metrics port. */
  port: number;
  /** Path of the file with its token. */
  token: string;
  log: string;
}

/** How cloudflared is started and ended as a process of this host. */
export interface Launcher {
  /** As whom it runs, noted with each connector: one that runs as somebody else is replaced. */
  readonly runsAs: "agent" | "unit";
  /** Answers its pid. */
  launch(start: Start): Promise<number>;
  /** Asks it to finish what is under way and end. */
  end(id: string, pid: number): Promise<void>;
  kill(id: string, pid: number): Promise<void>;
}

const passedOn = (): [string, string][] =>
  PASSED_ON.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : []));

/** As the agent's own user, in a session of its own: where nobody installed the unit. */
export const ownProcess = (program: string): Launcher => ({
  runsAs: "agent",
  async launch({ port, token, log: logFile }) {
    // The process writes there itself, since it goes on when this agent does not.
    const log = await open(logFile, "a", 0o600);
    try {
      const child = spawn(program, cloudflaredArgs(port), {
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
        cwd: path.dirname(token),
        env: { ...hostEnv(), ...Object.fromEntries(passedOn()), TUNNEL_TOKEN_FILE: token },
      });
      await once(child, "spawn");
      child.unref();
      return child.pid ?? 0;
    } finally {
      await log.close();
    }
  },
  end: async (_id, pid) => void process.kill(pid, "SIGTERM"),
  kill: async (_id, pid) => signalGroup(pid, "SIGKILL"),
});

/** The template that install.sh writes: a user of its own, and an egress rule. */
const UNIT = "sluice-cloudflared";
const UNIT_FILE = `/etc/systemd/system/${UNIT}@.service`;
const SYSTEMCTL_WITHIN_MS = 20_000;

/** Whether cloudflared can run as its unit: this agent is one itself, and the template is there. */
export const hasUnit = async (file = UNIT_FILE): Promise<boolean> =>
  process.env.INVOCATION_ID !== undefined &&
  (await access(file).then(
    () => true,
    () => false, // not installed
  ));

/** As a systemd unit: systemd drops what the agent has and cloudflared must not have, and reads the token for it. */
export const ownUnit = (systemctl = "systemctl"): Launcher => {
  const ask = async (...args: string[]) =>
    (await promisify(execFile)(systemctl, args, { timeout: SYSTEMCTL_WITHIN_MS })).stdout.trim();
  const unitOf = (id: string) => `${UNIT}@${id}.service`;
  return {
    runsAs: "unit",
    async launch({ id, port, token }) {
      const lines = [["METRICS_PORT", String(port)] as const, ...passedOn()];
      const text = lines.map(([name, value]) => `${name}=${JSON.stringify(value)}\n`).join("");
      await writeFile(token.replace(/\.token$/, ".env"), text, { mode: 0o600 });
      await ask("start", unitOf(id));
      return Number(await ask("show", "--property=MainPID", "--value", unitOf(id)));
    },
    end: async (id) => void (await ask("stop", "--no-block", unitOf(id))),
    kill: async (id) => void (await ask("kill", "--signal=SIGKILL", unitOf(id))),
  };
};
