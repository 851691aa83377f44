/** The local stack as a process of its own, so that a test can kill it: `stack-process.ts <dir> <edge port> <control port> [bindings] [slot ports, and whether D1 can be moved, and sweeps be asked for]`. */
import { aroundFarDatabase } from "../../../bench/far-database.ts";
import { openHome } from "../../../local/home.ts";
import { startStack } from "../../../local/stack.ts";
import { aroundSweeps } from "./sweeps.ts";

const [dir = "", edgePort, controlPort, bindings = "{}", slotPorts = "{}"] = process.argv.slice(2);
const { isD1Far = false, isSwept = false, ...rest } = JSON.parse(slotPorts);
const home = await openHome(dir);
const stack = await startStack({
  stateDir: home.stateDir,
  edgePort: Number(edgePort),
  controlPort: Number(controlPort),
  adminTokenSha256: home.tokenSha256,
  secretsKey: home.secretsKey,
  version: "test",
  isTelling: true,
  bindings: JSON.parse(bindings),
  ...rest,
  ...(isD1Far && { around: aroundFarDatabase(0) }),
  ...(isSwept && { around: aroundSweeps }),
});
await home.announce(stack.controlUrl, stack.edgeUrl);
process.once("SIGTERM", async () => {
  await stack.dispose();
  process.exit(0);
});
console.log(JSON.stringify({ edgeUrl: stack.edgeUrl, controlUrl: stack.controlUrl }));
