import { chmod, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

/** How a stand-in behaves: it finds it in its token, since that is all that reaches it. */
export interface Behaviour {
  /** Tells tokens apart. */
  name: string;
  /** Where it notes what happens to it; absent in a container. */
  directory?: string;
  /** Not ready before it is told so. */
  slow?: boolean;
  /** Cloudflare refuses the token: says so and ends. */
  refused?: boolean;
  /** Says what cloudflared says where UDP 7844 is blocked, and works over http2. */
  quicBlocked?: boolean;
  /** Ignores SIGTERM. */
  deaf?: boolean;
  configVersion?: number;
}

export interface Noted {
  event: "started" | "refused" | "told to end" | "ended";
  pid: number;
  name: string;
  args: string[];
  /** Names of its variables. */
  variables: string[];
}

/** Stands in for cloudflared on the interfaces the agent uses: arguments, variables, metrics port, signals, words. */
export const STAND_IN = String.raw`
const fs = require("node:fs"), http = require("node:http");
const how = JSON.parse(Buffer.from(process.env.TUNNEL_TOKEN ?? fs.readFileSync(process.env.TUNNEL_TOKEN_FILE, "utf8"), "base64url"));
const args = process.argv.slice(process.argv.indexOf("tunnel"));
const note = (event) => how.directory && fs.appendFileSync(how.directory + "/events", JSON.stringify({ event, pid: process.pid, name: how.name, args, variables: Object.keys(process.env) }) + "\n");
const say = (text) => console.error("2026-11-25T01:00:00Z " + text);
if (how.refused) {
  say('ERR Register tunnel error from server side error="Unauthorized: Invalid tunnel secret" connIndex=0');
  note("refused");
  process.exit(1);
}
if (how.quicBlocked) {
  say('ERR Failed to dial a quic connection error="failed to dial to edge with quic: timeout: no recent network activity" connIndex=0');
  say("INF Switching to fallback protocol http2 connIndex=0");
}
let ready = !how.slow, version = how.configVersion ?? 1;
const state = () => JSON.stringify({ status: ready ? 200 : 503, readyConnections: ready ? 4 : 0, connectorId: "c" });
if (ready) say("INF Registered tunnel connection connIndex=0 protocol=" + (how.quicBlocked ? "http2" : "quic"));
const [host, port] = args[args.indexOf("--metrics") + 1].split(":");
http.createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  if (url.searchParams.has("ready")) ready = url.searchParams.get("ready") === "1";
  if (url.searchParams.has("version")) version = Number(url.searchParams.get("version"));
  if (url.pathname === "/exit") process.exit(1);
  if (url.pathname === "/ready") return response.writeHead(ready ? 200 : 503).end(state());
  if (url.pathname === "/config") return response.end(JSON.stringify({ version, config: { ingress: [] } }));
  response.end('# TYPE cloudflared_tunnel_total_requests counter\ncloudflared_tunnel_total_requests 1.234e+03\ncloudflared_tunnel_request_errors 7\n# TYPE build_info gauge\nbuild_info{goversion="go1.26",revision="",type="",version="2026.8.2"} 1\n');
}).listen(Number(port), host, () => note("started"));
process.on("SIGTERM", () => {
  note("told to end");
  if (!how.deaf) setTimeout(() => { note("ended"); process.exit(0); }, 300);
});
`;

export const tokenOf = (behaviour: Behaviour): string =>
  Buffer.from(JSON.stringify(behaviour)).toString("base64url");

/** Writes the stand-in as the program that `--cloudflared` names. */
export async function standInProgram(directory: string): Promise<string> {
  const file = path.join(directory, "cloudflared");
  // A folder above may make .js files modules; this name has no ending, so it is CommonJS.
  await writeFile(file, `#!${process.execPath}\n${STAND_IN}`);
  await chmod(file, 0o755);
  return file;
}

export async function noted(directory: string): Promise<Noted[]> {
  const text = await readFile(path.join(directory, "events"), "utf8").catch(() => ""); // nothing happened yet
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** Asks a running stand-in on its metrics port, which is among its arguments. */
export async function ask({ args }: Pick<Noted, "args">, request: string): Promise<void> {
  const address = args[args.indexOf("--metrics") + 1];
  await fetch(`http://${address}${request}`, { headers: { connection: "close" } }).catch(() => {}); // it may end for it
}
