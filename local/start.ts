import { Client } from "../src/client/index.ts";
import { openHome } from "./home.ts";
import { keptRuntime, LocalHost } from "./hosts.ts";
import { isFree } from "./ports.ts";
import { startStack } from "./stack.ts";
import { startOptions } from "./start-options.ts";

const HELP = `npm start -- [options]

Runs Sluice on this machine for everyday use: control, edge and one agent. State is kept in .sluice/.

  --edge-port N       port of the apps (default 8080)
  --control-port N    port of the API (default 8081)
  --runtime NAME      docker or process (default: docker when an engine answers)
  --process-root DIR  what the process runtime may run (default: this folder)
  --dir DIR           where state is kept (default .sluice)
`;

const refuse = (error: unknown): never => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
};
/** Refused by its words alone: a trace would help nobody who mistyped a flag. */
const options = (() => {
  try {
    return startOptions(process.argv.slice(2));
  } catch (error) {
    return refuse(error);
  }
})();
if (options.help) {
  console.log(HELP);
  process.exit(0);
}

for (const [flag, port] of [
  ["--edge-port", options.edgePort],
  ["--control-port", options.controlPort],
] as const) {
  if (await isFree(port)) continue;
  refuse(
    `port ${port} is taken: does Sluice run already? Stop what listens there, or name another port with ${flag}`,
  );
}
const home = await openHome(options.dir);
const { runtime, why } = await keptRuntime(home.agentDir("local"), options.runtime).catch(refuse);

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

const SLOT_COUNT = 16;
const slots = { first: await home.keepPorts(SLOT_COUNT).catch(refuse), count: SLOT_COUNT };
const stack = await startStack({
  stateDir: home.stateDir,
  edgePort: options.edgePort,
  controlPort: options.controlPort,
  adminTokenSha256: home.tokenSha256,
  secretsKey: home.secretsKey,
  version: "local",
  slotPorts: slots,
});
undo.push(() => stack.dispose());
await home.announce(stack.controlUrl, stack.edgeUrl);
const client = new Client({ url: stack.controlUrl, token: home.token });
const host = new LocalHost({
  name: "local",
  client,
  controlUrl: stack.controlUrl,
  dir: home.agentDir("local"),
  runtime,
  portBase: slots.first,
  slots: slots.count,
  processRoot: options.processRoot,
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

  apps     ${stack.edgeUrl}    answers for the hostnames of your manifests, e.g. http://hello.localhost:${options.edgePort}
  API      ${stack.controlUrl}    ${stack.controlUrl}/api/docs
  host     local, runtime ${runtime} (${why})
  state    ${options.dir}/   \`sluice\` finds address and token there

Next, in another terminal:

${runtime === "docker" ? "  docker build -t hello:v1 examples/hello\n" : ""}  npx sluice apply -f examples/hello/sluice.yaml
  npx sluice deploy -f examples/hello/sluice.yaml ${runtime === "process" ? "--image file:examples/hello" : "--image hello:v1"}

Ctrl-C stops Sluice; what it runs goes on running, and is found again at the next start.
`);
