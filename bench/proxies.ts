/** The proxies that `edge` compares, each a process of its own in front of one origin process. All on loopback. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bundleWorker } from "../local/bundle.ts";
import type { RoutingTable } from "../src/domain/routing/table.ts";
import { COMPATIBILITY_DATE } from "../test/support/compatibility-date.ts";

export interface Running {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A header whose value becomes a request's `cf`; the Worker does not see it. */
export const CF_HEADER = "cf-blob";

const WORKERD = join(import.meta.dirname, "../node_modules/workerd/bin/workerd");
const NGINX = "/usr/sbin/nginx";

const ORIGIN = `
const body = Buffer.alloc(1024, "x");
require("node:http").createServer((request, response) => {
  request.resume();
  response.writeHead(200, { "content-type": "text/plain", "content-length": body.length });
  response.end(body);
}).listen(Number(process.argv[1]), "127.0.0.1");
`;

/** A pass-through as Cloudflare's documentation writes one: what a Worker costs before it does anything of use. */
const passThrough = (port: string) => `
export default {
  async fetch(request) {
    const url = new URL(request.url);
    url.hostname = "127.0.0.1";
    url.port = "${port}";
    return fetch(new Request(url, request));
  },
};
`;
/** The same with a header on its way and one on its answer, as the documentation's examples alter headers. */
const altering = (port: string) => `
export default {
  async fetch(request) {
    const url = new URL(request.url);
    url.hostname = "127.0.0.1";
    url.port = "${port}";
    const forwarded = new Request(url, request);
    forwarded.headers.set("X-Forwarded-Host", "shop.test");
    const response = await fetch(forwarded);
    const altered = new Response(response.body, response);
    altered.headers.set("X-Release", "v1");
    return altered;
  },
};
`;
/** The least that can be written: no URL parsed, no promise of its own. */
const leanPassThrough = (port: string) => `
export default {
  fetch(request) {
    const { url } = request;
    return fetch("http://127.0.0.1:${port}" + url.slice(url.indexOf("/", 8)), request);
  },
};
`;

const PASS_THROUGHS = { pass: passThrough, lean: leanPassThrough, altering };
export type PassThrough = keyof typeof PASS_THROUGHS;

const controlStub = (table: RoutingTable) => `
import { WorkerEntrypoint } from "cloudflare:workers";
const table = ${JSON.stringify(table)};
export class EdgePort extends WorkerEntrypoint {
  table(hostname, known) {
    return known === table.version ? { kind: "unchanged", version: known } : { kind: "table", table };
  }
  meter() {}
}
export default { fetch: () => new Response(null, { status: 404 }) };
`;

export async function startOrigin(): Promise<Running> {
  const port = await freePort();
  return started(spawn(process.execPath, ["-e", ORIGIN, String(port)], { stdio: "inherit" }), port);
}

export async function startEdge(name: string, table: RoutingTable, directory: string): Promise<Running> {
  writeFileSync(join(directory, "edge.mjs"), await bundleWorker("edge"));
  writeFileSync(join(directory, `${name}-control.mjs`), controlStub(table));
  return serve(directory, name, [
    worker("main", "edge.mjs", [
      `(name = "CONTROL", service = (name = "control", entrypoint = "EdgePort"))`,
      `(name = "TABLES", kvNamespace = "control")`,
    ]),
    worker("control", `${name}-control.mjs`, []),
  ]);
}

export async function startPassThrough(
  kind: PassThrough,
  origin: Running,
  directory: string,
): Promise<Running> {
  writeFileSync(join(directory, `${kind}.mjs`), PASS_THROUGHS[kind](String(origin.port)));
  return serve(directory, kind, [worker("main", `${kind}.mjs`, [])]);
}

/** Null when nginx is not installed (Debian: apt-get install nginx-light). */
export async function startNginx(originPort: number, directory: string): Promise<Running | null> {
  if (!existsSync(NGINX)) return null;
  const port = await freePort();
  const config = join(directory, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; master_process off; worker_processes 1; pid ${directory}/nginx.pid; error_log /dev/null;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi; uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  upstream app {
    server 127.0.0.1:${originPort} weight=9;
    server 127.0.0.2:${originPort} weight=1 backup;
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering off;
    }
  }
}
`,
  );
  return started(spawn(NGINX, ["-c", config, "-p", directory], { stdio: "ignore" }), port);
}

/** CPU time a process has used, user and system, in ms. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the name, in parentheses, and may hold spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const TICK_MS = 10;
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** What a process holds in memory. */
export function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

function worker(name: string, file: string, bindings: readonly string[]): string {
  return `(name = "${name}", worker = (
    compatibilityDate = "${COMPATIBILITY_DATE}",
    modules = [(name = "worker", esModule = embed "${file}")],
    bindings = [${bindings.join(", ")}],
    globalOutbound = "loopback",
  ))`;
}

async function serve(directory: string, name: string, workers: readonly string[]): Promise<Running> {
  const port = await freePort();
  const config = join(directory, `${name}.capnp`);
  writeFileSync(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ${workers.join(",\n    ")},
    (name = "loopback", network = (allow = ["private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (cfBlobHeader = "${CF_HEADER}"), service = "main")],
);
`,
  );
  return started(spawn(WORKERD, ["serve", config], { stdio: ["ignore", "inherit", "inherit"] }), port);
}

async function started(child: ChildProcess, port: number): Promise<Running> {
  const { pid } = child;
  if (pid === undefined) throw new Error(`could not start ${child.spawnfile}`);
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (await answers(port)) return { port, pid, stop };
    await sleep(50);
  }
  await stop();
  throw new Error(`${child.spawnfile} did not answer on 127.0.0.1:${port} within 5 s`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = get({ port, host: "127.0.0.1", headers: { host: "shop.test" } }, (response) => {
      response.resume().on("end", () => resolve(true));
    });
    probe.on("error", () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port from the system");
  return address.port;
}
