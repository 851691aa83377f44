import { mkdir } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import path from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { RUNTIMES } from "../src/protocol/agent/wire.ts";
import { runAgent } from "./agent.ts";
import { type Credentials, readCredentials } from "./control/credentials.ts";
import { enroll, refuseUnsafe } from "./control/enroll.ts";
import { portsProblem } from "./host/ports.ts";
import { lockDirectory } from "./lock.ts";
import { createLog, type Log } from "./log.ts";
import { words } from "./outcome.ts";
import { type PolicySource, readPolicy } from "./policy/file.ts";
import { Policy } from "./policy/policy.ts";
import { Secrets } from "./redaction/secrets.ts";
import type { Admits } from "./runtime/docker/admission.ts";
import { createEngine } from "./runtime/docker/engine.ts";
import { askRoot } from "./runtime/docker/failure.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { AGENT_VERSION } from "./version.ts";

interface StateOptions {
  state: string;
  log: "json" | "human";
}
interface EnrollFlags {
  url?: string;
  token?: string;
  runtime: (typeof RUNTIMES)[number];
  portBase: number;
  originBase?: string;
}
interface RunFlags {
  processRoot?: string;
  localImages?: boolean;
  policy?: string;
  sigstore: string;
  cloudflared?: string;
  cloudflaredImage?: string;
}

/** Looked for when no other is named; a host without one runs any image, and mounts none of its directories. */
const POLICY_FILE = "/etc/sluice/policy.yaml";

/** Of the trusted root by which signatures without a key are judged, and of bundles that are in no registry. */
const SIGSTORE = "/etc/sluice/sigstore";

/** What nothing may tell. */
const secrets = new Secrets();

const program = new Command("agent")
  .description("Runs releases on this host, as control says.")
  .version(AGENT_VERSION);

withEnrollment(withState(program.command("enroll")))
  .description("Trade a one-time token for this host's credentials")
  .action((flags: StateOptions & EnrollFlags) =>
    guarded(flags, async (log) => void (await enrollHost(flags, log))),
  );

withEnrollment(withState(program.command("run")))
  .description("Run the agent; enrols first when a token is given and the state directory has no credentials")
  .option("--process-root <dir>", "only directories under it can be run (process runtime)")
  .option("--cloudflared <path>", "the program that runs this host's tunnel (default: the first on PATH)")
  .addOption(
    new Option("--cloudflared-image <image>", "what runs it where there is no such program").env(
      "SLUICE_CLOUDFLARED_IMAGE",
    ),
  )
  .option("--local-images", "accept images that only this engine has, pinned by image id")
  .option("--policy <file>", `what this host lets control do (default: ${POLICY_FILE}, if it is there)`)
  .option("--sigstore <dir>", "the trusted root for signatures without a key, and bundles", SIGSTORE)
  .action((flags: StateOptions & EnrollFlags & RunFlags) => guarded(flags, (log) => run(flags, log)));

await program.parseAsync();

function withState(command: Command): Command {
  return command
    .requiredOption("--state <dir>", "directory of credentials and journal")
    .addOption(new Option("--log <format>", "log lines").choices(["json", "human"]).default("human"));
}

function withEnrollment(command: Command): Command {
  return command
    .option("--url <url>", "control's address")
    .addOption(
      new Option("--token <token>", "one-time token; the variable keeps it out of ps").env(
        "SLUICE_ENROLL_TOKEN",
      ),
    )
    .addOption(new Option("--runtime <runtime>", "what runs instances").choices(RUNTIMES).default("docker"))
    .option("--port-base <port>", "host port of slot 0", parsePort, 20_000)
    .option("--origin-base <url>", "how the edge reaches this host without a tunnel");
}

function parsePort(value: string): number {
  const port = Number(value);
  if (Number.isInteger(port) && port >= 1_024 && port <= 65_000) return port;
  throw new InvalidArgumentError("a port base is a number from 1024 to 65000");
}

async function guarded(flags: StateOptions, action: (log: Log) => Promise<void>): Promise<void> {
  const log = createLog(flags.log, (line) => secrets.hideAll(line));
  try {
    await action(log);
  } catch (thrown) {
    log.error(words(thrown));
    process.exitCode = 1;
  }
}

async function enrollHost(flags: StateOptions & EnrollFlags, log: Log): Promise<Credentials> {
  if (!flags.url || !flags.token) {
    throw new Error(
      "enrolling needs --url and --token (or SLUICE_ENROLL_TOKEN): `sluice hosts enroll` prints both",
    );
  }
  const { url, token, runtime, portBase, originBase } = flags;
  const credentials = await enroll({
    url,
    token,
    runtime,
    portBase,
    directory: flags.state,
    ...(originBase && { originBase }),
  });
  log.info("enrolled", { host: credentials.host.name, control: url, state: flags.state });
  await warnOfPorts(credentials, log);
  return credentials;
}

/** An app whose port another program got for a moment fails to start, and nobody sees why. */
async function warnOfPorts({ ports }: Credentials, log: Log): Promise<void> {
  const problem = ports && (await portsProblem(ports));
  if (problem) log.warn(problem);
}

async function run(flags: StateOptions & EnrollFlags & RunFlags, log: Log): Promise<void> {
  await mkdir(flags.state, { recursive: true, mode: 0o700 });
  const unlock = await lockDirectory(flags.state);
  try {
    await runLocked(flags, log);
  } finally {
    await unlock();
  }
  // Sockets of waits that were let go would hold the process for a while.
  process.exit(0);
}

async function runLocked(flags: StateOptions & EnrollFlags & RunFlags, log: Log): Promise<void> {
  const file = { file: flags.policy ?? POLICY_FILE, isRequired: flags.policy !== undefined };
  await refuseBroken(file);
  const credentials = (await readCredentials(flags.state)) ?? (await enrollHost(flags, log));
  refuseUnsafe(credentials.url);
  const engine = credentials.runtime === "docker" ? createEngine() : undefined;
  const policy = new Policy({
    file,
    runtime: credentials.runtime,
    directory: flags.state,
    ...(engine && { engineRoot: () => askRoot(engine) }),
  });
  const runtime = await createRuntime(credentials, flags, policy);
  const cloudflared = { program: flags.cloudflared, image: flags.cloudflaredImage };
  // Written now, or an agent that is never ended properly would strip and compile all of it at each start.
  flushCompileCache();
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
  const { state: directory, sigstore } = flags;
  const host = { credentials, directory, runtime, engine, cloudflared, log, policy, secrets, sigstore };
  await runAgent(host, stop.signal);
}

/** Whoever wrote a policy meant one: an agent that went on by no rules, or by none that it knows, would not be noticed. */
async function refuseBroken(file: PolicySource): Promise<void> {
  const read = await readPolicy(file);
  if (read.kind === "broken")
    throw new Error(
      `the policy ${file.file} can't be gone by, so the agent does not start (what runs is left alone): ${read.problem}`,
    );
}

/** Each runtime is loaded only when it is the one. */
async function createRuntime(
  credentials: Credentials,
  { processRoot, localImages = false, state }: StateOptions & RunFlags,
  policy: Policy,
): Promise<Runtime> {
  if (credentials.runtime === "docker") {
    const { createDockerRuntime } = await import("./runtime/docker/docker.ts");
    const admits: Admits = (standing) => policy.admits(standing);
    return createDockerRuntime({ host: credentials.host.id, localImages, admits });
  }
  if (!processRoot)
    throw new Error("this host was enrolled for the process runtime: name its --process-root <dir>");
  const { createProcessRuntime } = await import("./runtime/process/process.ts");
  const directory = path.join(state, "processes");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return createProcessRuntime({ root: processRoot, directory });
}
