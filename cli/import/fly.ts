import type { ComposeOptions, Read } from "./compose.ts";
import { Ledger, listOf, noteReasons, type Reasons, recordOf, textOf, textsOf } from "./ledger.ts";
import {
  commandOf,
  compact,
  type Draft,
  durationOf,
  nameOf,
  PLACEHOLDER_HOSTNAME,
  sizeOf,
  takenDuration,
  variablesOf,
  withoutTag,
} from "./values.ts";

type Table = Readonly<Record<string, unknown>>;

/** A `fly.toml` as a manifest. */
export function readFly(
  source: unknown,
  options: Pick<ComposeOptions, "image" | "hostname" | "folder">,
): Read {
  const file = recordOf(source);
  if (file.app === undefined && file.http_service === undefined && file.services === undefined)
    return { problem: "it has neither `app` nor a service, so it is no fly.toml" };
  const ledger = new Ledger();
  ledger.note("taken", "app", "app");
  const built = textOf(recordOf(file.build).image);
  if (file.build !== undefined)
    ledger.note(
      built === undefined ? "todo" : "taken",
      "build",
      built === undefined
        ? "the image is built before a deploy, and pushed where the hosts can pull it"
        : "image",
    );
  const { env, secrets } = variablesOf(file.env, "env", ledger);
  noteNeedless(file, ledger);
  const all = Object.entries(recordOf(file.processes)).map(([name, command]): [string, unknown] => [
    name,
    command,
  ]);
  const serving = textsOf(recordOf(file.http_service).processes)[0] ?? "app";
  const web = all.find(([name]) => name === serving) ?? all[0];
  const draft = compact({
    app: nameOf(textOf(file.app) ?? options.folder),
    image: options.image ?? withoutTag(built ?? nameOf(textOf(file.app) ?? options.folder)),
    port: port(file, ledger),
    command: web === undefined ? undefined : commandOf(web[1]),
    health: health(file, ledger),
    env,
    secrets,
    hooks: hooks(file, ledger),
    volumes: mounts(file, ledger),
    resources: resources(file, ledger),
    container: compact({ stopSignal: stopSignal(file, ledger) }),
    stopGrace: takenDuration(ledger, { value: file.kill_timeout, key: "kill_timeout", became: "stopGrace" }),
    processes: Object.fromEntries(
      all
        .filter((one) => one !== web)
        .map(([name, command]) => [nameOf(name), { command: commandOf(command) ?? ["CHANGE-ME"] }]),
    ),
    environments: { production: environment(file, options.hostname, ledger) },
  });
  for (const [name] of all)
    ledger.note("taken", `processes.${name}`, name === web?.[0] ? "command" : `processes.${nameOf(name)}`);
  return { draft, ledger };
}

const REASONS: Reasons = {
  primary_region: ["needless", "hosts are where they are"],
  swap_size_mb: ["lost", "swap counts as memory"],
  statics: ["lost", "the app serves its files; Cloudflare caches what may be cached"],
  metrics: ["todo", "the app's own metrics are scraped on the host"],
  experimental: ["lost", "nothing like it"],
  console_command: ["todo", "sluice run -- <command>"],
  host_dedication_id: ["lost", "nothing like it"],
  files: ["todo", "put them into the image"],
  restart: ["needless", "what ends is started again, with a growing pause"],
};

function noteNeedless(file: Table, ledger: Ledger): void {
  noteReasons(ledger, "", file, REASONS);
  noteReasons(ledger, "http_service.", file.http_service, HTTP);
  const deploy = recordOf(file.deploy);
  for (const key of Object.keys(deploy).filter((one) => !["release_command", "strategy"].includes(one)))
    ledger.note("needless", `deploy.${key}`, "`strategy` and `deadlines` say how a release goes");
}

const HTTP: Reasons = {
  force_https: ["needless", "set Always Use HTTPS in the zone"],
  auto_stop_machines: ["needless", "instances run always"],
  auto_start_machines: ["needless", "instances run always"],
  min_machines_running: ["needless", "replicas"],
  concurrency: ["needless", "instances are chosen by how many requests each has"],
  http_options: ["needless", "the edge's own"],
  tls_options: ["needless", "Cloudflare ends TLS"],
  processes: ["needless", "what has a port is the app"],
};

const SERVICE: Reasons = {
  protocol: ["needless", "HTTP through the tunnel"],
  ports: ["needless", "visitors come by https, and Cloudflare ends TLS"],
  concurrency: ["lost", "no instance has a limit of requests"],
  processes: ["needless", "what has a port is the app"],
  auto_stop_machines: ["needless", "instances run always"],
  auto_start_machines: ["needless", "instances run always"],
  min_machines_running: ["todo", "replicas"],
  script_checks: ["todo", "health.readiness.command"],
};

function noteService(service: Table, ledger: Ledger): void {
  ledger.note("taken", "services.internal_port", "port");
  noteReasons(ledger, "services.", service, SERVICE);
  const told = [...Object.keys(SERVICE), "internal_port", "http_checks", "tcp_checks"];
  for (const key of Object.keys(service).filter((one) => !told.includes(one)))
    ledger.note("lost", `services.${key}`, "Sluice has no such key");
}

function port(file: Table, ledger: Ledger): number {
  const http = recordOf(file.http_service);
  if (http.internal_port !== undefined) {
    ledger.note("taken", "http_service.internal_port", "port");
    return Number(http.internal_port);
  }
  const [first, ...others] = listOf(file.services).map(recordOf);
  if (first) noteService(first, ledger);
  if (others.length > 0)
    ledger.note("lost", "services (all but the first)", "an app has one port; another is an app of its own");
  return Number(first?.internal_port ?? 8080);
}

function health(file: Table, ledger: Ledger): Draft {
  const checks = [
    ...listOf(recordOf(file.http_service).checks),
    ...listOf(recordOf(listOf(file.services)[0]).http_checks),
    ...listOf(recordOf(listOf(file.services)[0]).tcp_checks).map((one) => ({
      ...recordOf(one),
      type: "tcp",
    })),
  ].map(recordOf);
  const own = listOf(recordOf(file.http_service).checks).length > 0;
  const named = Object.values(recordOf(file.checks)).map(recordOf);
  const [check] = [...checks, ...named];
  if (file.checks !== undefined) ledger.note("taken", "checks", "health.readiness: the first one");
  if (!check) return {};
  if (checks.length > 0)
    ledger.note("taken", own ? "http_service.checks" : "services.checks", "health.readiness: the first one");
  const isTcp = check.type === "tcp";
  return {
    readiness: compact({
      ...(isTcp ? { tcp: true } : { path: textOf(check.path) ?? "/" }),
      interval: durationOf(check.interval),
      timeout: durationOf(check.timeout),
      ...(isTcp || check.headers === undefined ? {} : { headers: check.headers }),
    }),
  };
}

function hooks(file: Table, ledger: Ledger): Draft {
  const command = commandOf(recordOf(file.deploy).release_command);
  if (command) ledger.note("taken", "deploy.release_command", "hooks.expand");
  return compact({ expand: command });
}

function mounts(file: Table, ledger: Ledger): string[] {
  const given = listOf(file.mounts).map(recordOf);
  if (given.length > 0)
    ledger.note("todo", "mounts", "volumes of their own on each host: copy what they hold");
  return given.map(
    (mount) => `${nameOf(textOf(mount.source) ?? "data")}:${textOf(mount.destination) ?? "/data"}`,
  );
}

function resources(file: Table, ledger: Ledger): Draft {
  const vm = recordOf(listOf(file.vm)[0]);
  if (file.vm === undefined) return {};
  ledger.note("taken", "vm", "resources");
  const memory = vm.memory_mb === undefined ? vm.memory : `${textOf(vm.memory_mb)}m`;
  return compact({ cpus: vm.cpus === undefined ? undefined : Number(vm.cpus), memory: sizeOf(memory) });
}

function stopSignal(file: Table, ledger: Ledger): string | undefined {
  if (file.kill_signal !== undefined) ledger.note("taken", "kill_signal", "container.stopSignal");
  return textOf(file.kill_signal);
}

function environment(file: Table, hostname: string | undefined, ledger: Ledger): Draft {
  const { strategy } = recordOf(file.deploy);
  if (strategy !== undefined) ledger.note("taken", "deploy.strategy", "environments.production.strategy");
  if (hostname === undefined)
    ledger.note("todo", "environments.production.hostnames", "a fly.toml names no hostname: set the app's");
  const known = {
    rolling: "rolling",
    canary: "canary",
    bluegreen: "blue-green",
    immediate: "blue-green",
  } as const;
  return compact({
    hostnames: [hostname ?? PLACEHOLDER_HOSTNAME],
    strategy: known[textOf(strategy) as keyof typeof known],
  });
}
