import { sha256 } from "../ids.ts";

/**
 * What hosts and CI are installed from. As modules of the Worker, so that control and its agent are deployed, and rolled back, as
 * one; read only when somebody asks, so that no other request waits for 600 kB of text.
 */
export async function readBundle(): Promise<{ code: string; sha256: string }> {
  const { default: code } = await import("../../../dist/agent.txt");
  return { code, sha256: await sha256(code) };
}

/** A host name or address, with its port: nothing that a shell would read as more than text. */
const PLAIN_ORIGIN = /^https?:\/\/[a-z0-9.:[\]-]+$/i;

/** The command line, one file for Node. */
export async function readCli(): Promise<{ code: string; sha256: string }> {
  const { default: code } = await import("../../../dist/cli.txt");
  return { code, sha256: await sha256(code) };
}

/** What puts it on the PATH. Undefined as below. */
export async function cliScript(origin: string): Promise<string | undefined> {
  if (!PLAIN_ORIGIN.test(origin)) return undefined;
  const [{ default: script }, cli] = await Promise.all([import("../../../dist/cli-install.txt"), readCli()]);
  return script.replaceAll("@CONTROL_URL@", origin).replaceAll("@CLI_SHA256@", cli.sha256);
}

/** The installer as this control plane's hosts get it. Undefined: the address it was asked under is none to write into a script. */
export async function installScript(origin: string): Promise<string | undefined> {
  if (!PLAIN_ORIGIN.test(origin)) return undefined;
  const [{ default: script }, bundle] = await Promise.all([
    import("../../../dist/install.txt"),
    readBundle(),
  ]);
  return script.replaceAll("@CONTROL_URL@", origin).replaceAll("@AGENT_SHA256@", bundle.sha256);
}
