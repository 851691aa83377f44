import { parseArgs } from "node:util";
import { Client } from "../src/client/index.ts";
import { openHome } from "./home.ts";
import { chooseRuntime, LocalHost } from "./hosts.ts";
import { isFree } from "./ports.ts";
import { startStack } from "./stack.ts";

const HELP = `npm start -- [options]

Runs Sluice on this machine for everyday use: control, edge and one agent. State is kept in .sluice/.

  --edge-port N       port of the apps (default 8080)
  --control-port N    port of the API (default 8081)
  --runtime NAME      docker or process (default: docker when an engine answers)
  --process-root DIR  what the process runtime may run (default: this folder)
  --dir DIR           where state is kept (default .sluice)
`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean", short: "h" },
    "edge-port": { type: "string", default: "8080" },
    "control-port": { type: "string", default: "8081" },
    runtime: { type: "string" },
    "process-root": { type: "string", default: process.cwd() },
    dir: { type: "string", default: ".sluice" },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}

for (const flag of ["edge-port", "control-port"] as const) {
  if (await isFree(Number(values[flag]))) continue;
  console.error(
    `port ${values[flag]} is taken: does Sluice run already? Stop what listens there, or name another port with --${flag}`,
  );
  process.exit(1);
}

/** What has to be undone at the end, last thing first: after Ctrl-C in the middle of the start too. */
const undo: (() => Promise<unknown>)[] = [];
let stopping = false;

async function stop(code: number): Promise<never> {
  if (stopping) process.exit(1);
  stopping = true;
  for (const step of undo.reverse()) await step();
  process.exit(code);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void stop(0));

const SLOTS = { first: 21_000, count: 16 };
const home = await openHome(values.dir);
const stack = await startStack({
  stateDir: home.stateDir,
  edgePort: Number(values["edge-port"]),
  controlPort: Number(values["control-port"]),
  adminTokenSha256: home.tokenSha256,
  secretsKey: home.secretsKey,
  version: "local",
  slotPorts: SLOTS,
});
undo.push(() => stack.dispose());
await home.announce(stack.controlUrl, stack.edgeUrl);
const client = new Client({ url: stack.controlUrl, token: home.token });
const { runtime, why } = await chooseRuntime(values.runtime);
const host = new LocalHost({
  name: "local",
  client,
  controlUrl: stack.controlUrl,
  dir: home.agentDir("local"),
  runtime,
  portBase: SLOTS.first,
  slots: SLOTS.count,
  processRoot: values["process-root"],
  onExit: (code) => {
    if (!stopping) console.error(`the agent ended with code ${code}: restart with \`npm start\``);
  },
});
undo.push(() => host.stop());
try {
  await host.start();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}

console.log(`
Sluice runs on this machine.

  apps     ${stack.edgeUrl}    answers for the hostnames of your manifests, e.g. http://hello.localhost:${values["edge-port"]}
  API      ${stack.controlUrl}    ${stack.controlUrl}/api/docs
  host     local, runtime ${runtime} (${why})
  state    ${values.dir}/   \`sluice\` finds address and token there

Next, in another terminal:

${runtime === "docker" ? "  docker build -t hello:v1 examples/hello\n" : ""}  npx sluice apply -f examples/hello/sluice.yaml
  npx sluice deploy -f examples/hello/sluice.yaml ${runtime === "process" ? "--image file:examples/hello" : "--image hello:v1"}

Ctrl-C stops Sluice; what it runs goes on running, and is found again at the next start.
`);
