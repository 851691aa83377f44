import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { main } from "../../../cli/main.ts";
import { parseManifest } from "../../../src/protocol/manifest/manifest.ts";

/** Runs a verb in a folder with these files; answers what it said, its JSON and the sluice.yaml that it left. */
async function inFolder(files: Readonly<Record<string, string>>, args: readonly string[]) {
  const cwd = await mkdtemp(join(tmpdir(), "shop-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text);
  const [stdout, stderr]: [string[], string[]] = [[], []];
  const terminal = {
    stdin: Readable.from([]),
    stdout: { isTTY: false, isClosed: false, write: (text: string) => void stdout.push(text) },
    stderr: { isTTY: false, columns: 200, write: (text: string) => void stderr.push(text) },
    env: { HOME: cwd, SLUICE_URL: "https://control.example.com", SLUICE_TOKEN: "t" },
  };
  const code = await main({ argv: [...args, "--json"], terminal, cwd, signal: new AbortController().signal });
  const text = await readFile(join(cwd, "sluice.yaml"), "utf8").catch(() => "");
  return { code, said: stderr.join(""), json: JSON.parse(stdout.join("")), text, manifest: parse(text) };
}
interface Key {
  key: string;
  fate: string;
  words: string;
}
const fateOf = (keys: Key[], key: string) => keys.filter((one) => one.key === key).map(({ fate }) => fate);

const COMPOSE = `name: Shop
x-env: &env
  RAILS_ENV: production
services:
  web:
    build: .
    image: ghcr.io/acme/shop:latest
    command: bundle exec puma -p 3000
    ports: ["127.0.0.1:8080:3000", "9394:9394"]
    environment:
      <<: *env
      SECRET_KEY_BASE: abc
      GIT_SHA:
      LEVEL: \${LEVEL:-info}
    depends_on: { db: { condition: service_healthy } }
    deploy: { replicas: 2, resources: { limits: { cpus: "0.5", memory: 512M } } }
    volumes: ["uploads:/app/uploads", "./src:/app/src", "/var/run/docker.sock:/var/run/docker.sock"]
    stop_grace_period: 1m30s
    init: false
    privileged: true
    frobnicate: yes
  worker:
    build: .
    image: ghcr.io/acme/shop:latest
    command: ["bundle", "exec", "sidekiq"]
  db:
    image: postgres:17
    environment: [POSTGRES_DB=shop, POSTGRES_PASSWORD=hunter2]
    volumes: [pg:/var/lib/postgresql/data]
    shm_size: 256mb
    healthcheck: { test: ["CMD-SHELL", "pg_isready -U $$POSTGRES_USER"], interval: 5s, retries: 5 }
    ports: ["5432:5432"]
volumes: { uploads: {}, pg: {} }
`;

describe("a compose file", () => {
  test("becomes an app, its processes and accessories, and every key is accounted for", async () => {
    const { code, json, text, manifest, said } = await inFolder({ "compose.yaml": COMPOSE }, [
      "import",
      "compose.yaml",
      "--hostname",
      "shop.example.com",
    ]);
    expect(code, said).toBe(0);
    expect(text.split("\n")[0]).toBe(
      "# yaml-language-server: $schema=https://control.example.com/api/manifest.schema.json",
    );
    expect(manifest).toMatchObject({
      app: "shop",
      image: "ghcr.io/acme/shop",
      port: 3000,
      command: ["bundle", "exec", "puma", "-p", "3000"],
      env: { RAILS_ENV: "production", GIT_SHA: "\u0024{GIT_SHA}", LEVEL: "\u0024{LEVEL:-info}" },
      secrets: ["SECRET_KEY_BASE"],
      volumes: ["uploads:/app/uploads"],
      container: { init: false },
      resources: { cpus: 0.5, memory: "512m" },
      stopGrace: "90s",
      needs: ["db"],
      processes: { worker: { command: ["bundle", "exec", "sidekiq"] } },
      accessories: {
        db: {
          image: "postgres:17",
          env: { POSTGRES_DB: "shop" },
          secrets: ["POSTGRES_PASSWORD"],
          container: { shm: "256m" },
          health: { command: ["sh", "-c", "pg_isready -U $$POSTGRES_USER"], interval: "5s", failures: 5 },
        },
      },
      environments: { production: { hostnames: ["shop.example.com"], replicas: 2 } },
    });
    expect(text).not.toMatch(/hunter2|abc/);
    const keys: Key[] = json.keys;
    expect(fateOf(keys, "services.web.privileged")).toEqual(["lost"]);
    expect(fateOf(keys, "services.web.frobnicate")).toEqual(["lost"]);
    expect(fateOf(keys, "services.web.volumes")).toEqual(["taken", "todo", "lost"]);
    expect(fateOf(keys, "services.db.ports")).toEqual(["needless"]);
    expect(JSON.stringify(keys)).not.toContain("hunter2");
  });

  test("with several candidates asks which, and takes no other file's place", async () => {
    const two = "services: { a: { image: x, ports: ['1:1'] }, b: { image: y, ports: ['2:2'] } }";
    const asked = await inFolder({ "compose.yaml": two }, ["import", "compose.yaml"]);
    expect(asked.code).toBe(1);
    expect(asked.json.detail).toContain("--service <name>: a, b");
    const there = await inFolder({ "compose.yaml": two, "sluice.yaml": "app: x" }, [
      "import",
      "compose.yaml",
      "--service",
      "a",
    ]);
    expect(there).toMatchObject({ code: 1, text: "app: x" });
  });
});

/** Every key of a service in the Compose Specification (05-services.md), as of 2026. */
const SERVICE_KEYS =
  `annotations attach build blkio_config cpu_count cpu_percent cpu_shares cpu_period cpu_quota cpu_rt_runtime
cpu_rt_period cpus cpuset cap_add cap_drop cgroup cgroup_parent command configs container_name credential_spec depends_on deploy
develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose extends external_links
extra_hosts gpus group_add healthcheck hostname image init ipc isolation labels links logging mac_address mem_limit mem_reservation
mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start
pre_stop privileged profiles provider pull_policy read_only restart runtime scale secrets security_opt shm_size stdin_open
stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir`.split(
    /\s+/,
  );

test("every key of the Compose Specification has a fate of its own, none that nobody knows", async () => {
  const values: Record<string, unknown> = {
    image: "a",
    command: "x",
    entrypoint: "x",
    ports: ["1:80"],
    environment: { A: "b" },
    env_file: ".env",
    volumes: ["a:/b"],
    depends_on: ["b"],
    deploy: { replicas: 2 },
    healthcheck: { test: "true" },
    init: true,
    read_only: true,
    cpus: 1,
    mem_limit: "1g",
    mem_reservation: "1m",
    shm_size: "64m",
    stop_grace_period: "1s",
    stop_signal: "SIGINT",
    user: "1",
    group_add: ["1"],
    cap_add: ["CAP_CHOWN"],
    tmpfs: "/t",
    ulimits: { nofile: 1 },
    extra_hosts: ["a:1.2.3.4"],
    logging: { driver: "local" },
    scale: 2,
    build: ".",
  };
  const web = Object.fromEntries(SERVICE_KEYS.map((key) => [key, values[key] ?? "x"]));
  const { json, code } = await inFolder({ "compose.yaml": JSON.stringify({ services: { web } }) }, [
    "import",
    "compose.yaml",
  ]);
  expect(code).toBe(0);
  const keys: Key[] = json.keys;
  const unknown = keys.filter(({ words }) => words === "Sluice has no such key").map(({ key }) => key);
  expect(unknown).toEqual([]);
  for (const key of SERVICE_KEYS)
    expect(
      keys.some((one) => one.key === `services.web.${key}` || one.key.startsWith(`services.web.${key}.`)),
      key,
    ).toBe(true);
});

test("a deploy.yml of Kamal becomes a manifest that parses", async () => {
  const KAMAL = `service: shop
image: acme/shop
servers:
  web: [10.0.0.1, 10.0.0.2]
  job: { hosts: [10.0.0.3], cmd: bin/jobs }
proxy: { ssl: true, host: shop.example.com, app_port: 3000, response_timeout: 30, healthcheck: { path: /up, interval: 2 } }
registry: { server: ghcr.io, username: acme, password: [KAMAL_REGISTRY_PASSWORD] }
env:
  clear:
    RAILS_LOG_LEVEL: info
    RELEASE: <%= ENV["RELEASE"] %>
  secret: [RAILS_MASTER_KEY]
volumes: ["storage:/rails/storage"]
asset_path: /rails/public/assets
accessories:
  db: { image: "mysql:8", host: 10.0.0.9, port: 3306, env: { secret: [MYSQL_ROOT_PASSWORD] }, directories: ["data:/var/lib/mysql"], files: ["config/my.cnf:/etc/mysql/my.cnf"] }
unheard_of: 1
`;
  const { code, manifest, json } = await inFolder({ "deploy.yml": KAMAL }, ["import", "deploy.yml"]);
  expect(code).toBe(0);
  expect(manifest).toMatchObject({
    app: "shop",
    image: "ghcr.io/acme/shop",
    port: 3000,
    health: { readiness: { path: "/up", interval: "2s" } },
    env: { RAILS_LOG_LEVEL: "info", RELEASE: "\u0024{RELEASE}" },
    secrets: ["RAILS_MASTER_KEY"],
    processes: { job: { command: ["bin/jobs"] } },
    accessories: {
      db: { files: { "/etc/mysql/my.cnf": { from: "config/my.cnf" } }, volumes: ["data:/var/lib/mysql"] },
    },
    environments: {
      production: { hostnames: ["shop.example.com"], replicas: 2, timeouts: { response: "30s" } },
    },
  });
  expect(fateOf(json.keys, "unheard_of")).toEqual(["lost"]);
  expect(fateOf(json.keys, "asset_path")).toEqual(["lost"]);
});

test("a fly.toml becomes one, too", async () => {
  const FLY = `app = "shop"
primary_region = "fra"
kill_signal = "SIGINT"
[build]
  image = "ghcr.io/acme/shop:1"
[env]
  LOG = "info"
[deploy]
  release_command = "bin/migrate"
  strategy = "canary"
[http_service]
  internal_port = 8080
  force_https = true
  [[http_service.checks]]
    path = "/healthz"
    interval = "10s"
[processes]
  app = "bin/server"
  worker = "bin/worker"
[[vm]]
  memory = "1gb"
  cpus = 1
[weird]
  x = 1
`;
  const { manifest, json } = await inFolder({ "fly.toml": FLY }, [
    "import",
    "fly.toml",
    "--hostname",
    "shop.example.com",
  ]);
  expect(manifest).toMatchObject({
    app: "shop",
    image: "ghcr.io/acme/shop",
    port: 8080,
    command: ["bin/server"],
    hooks: { expand: ["bin/migrate"] },
    health: { readiness: { path: "/healthz", interval: "10s" } },
    container: { stopSignal: "SIGINT" },
    resources: { memory: "1g", cpus: 1 },
    processes: { worker: { command: ["bin/worker"] } },
    environments: { production: { strategy: "canary" } },
  });
  expect(fateOf(json.keys, "weird")).toEqual(["lost"]);
});

const RUBY = `service: node-1
image: <%= ENV["REGISTRY_USER"] %>/node-1
servers:
  web:
    hosts:
      - <%= ENV["HOST"] %>
    cmd: daemon <%= ENV["GC"] == "true" ? "--gc" : "" %>
    options: { cpus: '<%= ENV["CPUS"] || "4" %>', memory: 2G, group-add: 60000, ulimit: ["nofile=1024:4096"], publish: ["4001:4001/udp"] }
  jobs: { cmd: bin/jobs, proxy: false, options: { memory: 512m } }
proxy: { app_port: 8080 }
env:
  clear:
    STORAGE: <%= ENV["STORAGE"] || "30TB" %>
    WORKER: "<%= ENV["WORKER"] || "" %>"
    VERSION: <%= \`git describe\`.strip %>
volumes: ['<%= ENV["DATA"] || "/mnt/data" %>:/data']
accessories:
  db: { image: postgres:17, options: { user: "2233:11370", shm-size: 256m, gpus: all } }
`;

test("a deploy.yml that Ruby has not filled in is read as it means it, and what only Ruby can say is left to do", async () => {
  const { code, json, manifest } = await inFolder({ "deploy.yml": RUBY }, [
    "import",
    "deploy.yml",
    "--hostname",
    "a.example.com",
  ]);
  expect(code).toBe(0);
  expect(manifest).toMatchObject({
    image: `\${REGISTRY_USER}/node-1`,
    env: { STORAGE: `\${STORAGE:-30TB}`, WORKER: `\${WORKER:-}`, VERSION: `\${VERSION}` },
    resources: { cpus: 4, memory: "2g" },
    container: { groups: ["60000"], ulimits: { nofile: { soft: 1024, hard: 4096 } } },
    volumes: ["/mnt/data:/data"],
    processes: { jobs: { command: ["bin/jobs"] } },
    accessories: { db: { container: { user: "2233:11370", shm: "256m" } } },
  });
  expect(fateOf(json.keys, "servers.web.options.publish")).toEqual(["lost"]);
  expect(fateOf(json.keys, "servers.web.cmd")).toEqual(["todo"]);
  expect(fateOf(json.keys, "servers.jobs.proxy")).toEqual(["needless"]);
  expect(fateOf(json.keys, "accessories.db.options.gpus")).toEqual(["todo"]);
  expect(json.keys.find(({ key }: Key) => key === "servers.web.hosts").words).toContain(
    "sluice hosts enroll host",
  );
});

test("a fly.toml's TCP check is one, each key of its service has a fate, and no secret is written into a file", async () => {
  const fly = `app = "rt"
[env]
  SECRET_KEY_BASE = "abc"
[[services]]
  internal_port = 4000
  odd = 1
  [services.concurrency]
    hard_limit = 10
  [[services.tcp_checks]]
    interval = "15s"
`;
  const { json, manifest } = await inFolder({ "fly.toml": fly }, [
    "import",
    "fly.toml",
    "--hostname",
    "rt.example.com",
  ]);
  expect(manifest).toMatchObject({
    port: 4000,
    health: { readiness: { tcp: true, interval: "15s" } },
    secrets: ["SECRET_KEY_BASE"],
  });
  expect(fateOf(json.keys, "services.concurrency")).toEqual(["lost"]);
  expect(fateOf(json.keys, "services.odd")).toEqual(["lost"]);
});

describe("init", () => {
  test("reads Dockerfile and Procfile, and is a manifest at once", async () => {
    const files = {
      Dockerfile: "FROM node AS build\nEXPOSE 1\nFROM node\nEXPOSE 4000/tcp\nHEALTHCHECK CMD true\n",
      Procfile: "web: node server.js\nworker: node worker.js\nrelease: node migrate.js\n",
    };
    const { code, text, manifest } = await inFolder(files, [
      "init",
      "--image",
      "ghcr.io/acme/shop:1",
      "--hostname",
      "shop.example.com",
    ]);
    expect(code).toBe(0);
    expect(manifest).toMatchObject({
      image: "ghcr.io/acme/shop",
      port: 4000,
      command: ["node", "server.js"],
      hooks: { expand: ["node", "migrate.js"] },
      processes: { worker: { command: ["node", "worker.js"] } },
    });
    const withoutProcesses = text.replace(/processes:\n(?: .*\n)+/, "");
    expect(parseManifest(withoutProcesses).ok).toBe(true);
  });

  test("without a terminal names the flag that it wants, and writes nothing", async () => {
    const { code, json, text } = await inFolder({}, ["init", "--hostname", "shop.example.com"]);
    expect(code).toBe(1);
    expect(json.detail).toContain("--image");
    expect(text).toBe("");
  });
});
