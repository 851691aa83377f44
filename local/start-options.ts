import { statSync } from "node:fs";
import { parseArgs } from "node:util";
import { RUNTIMES } from "../src/protocol/agent/wire.ts";
import type { RuntimeName } from "./hosts.ts";

export interface StartOptions {
  readonly help: boolean;
  readonly edgePort: number;
  readonly controlPort: number;
  /** Absent: docker where an engine answers. */
  readonly runtime?: RuntimeName | undefined;
  readonly processRoot: string;
  readonly dir: string;
}

/** What `npm start` was asked for. Throws with words for whoever typed it. */
export function startOptions(args: readonly string[]): StartOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h", default: false },
      "edge-port": { type: "string", default: "8080" },
      "control-port": { type: "string", default: "8081" },
      runtime: { type: "string" },
      "process-root": { type: "string", default: process.cwd() },
      dir: { type: "string", default: ".sluice" },
    },
  });
  return {
    help: values.help,
    edgePort: portOf("--edge-port", values["edge-port"]),
    controlPort: portOf("--control-port", values["control-port"]),
    runtime: runtimeOf(values.runtime),
    processRoot: folderOf("--process-root", values["process-root"]),
    dir: values.dir,
  };
}

function portOf(flag: string, text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new Error(`${flag} ${text}: a port is a number from 1 to 65535`);
}

function folderOf(flag: string, text: string): string {
  const found = statSync(text, { throwIfNoEntry: false });
  if (found?.isDirectory()) return text;
  throw new Error(`${flag} ${text}: ${found ? "it is no directory" : "there is no such directory"}`);
}

function runtimeOf(text: string | undefined): RuntimeName | undefined {
  const found = RUNTIMES.find((name) => name === text);
  if (text === undefined || found) return found;
  throw new Error(`--runtime ${text}: it is one of ${RUNTIMES.join(", ")}`);
}
