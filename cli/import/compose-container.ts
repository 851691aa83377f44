import { type Ledger, listOf, type Reasons, recordOf, textOf, textsOf } from "./ledger.ts";
import { commandOf, compact, type Draft, durationOf, sizeOf, variablesOf } from "./values.ts";

/** What a compose service says of its container, as the manifest has it: the same for the app, its processes and accessories. */

type Service = Readonly<Record<string, unknown>>;
interface At {
  readonly service: Service;
  /** `services.web` */
  readonly key: string;
  readonly ledger: Ledger;
}

export const REASONS: Reasons = {
  container_name: ["needless", "Sluice names containers; accessories are reached by their own name"],
  restart: ["needless", "what ends is started again, with a growing pause"],
  hostname: ["needless", "instances are told apart by SLUICE_INSTANCE"],
  networks: ["needless", "each environment has a private network of its own"],
  network_mode: ["lost", "no container gets the host's network"],
  expose: ["needless", "the private network has every port"],
  links: ["needless", "accessories are reached by their name"],
  external_links: ["lost", "other apps are reached by their hostname"],
  labels: ["needless", "traffic goes by `hostnames`; other labels are not read"],
  annotations: ["needless", "not read"],
  profiles: ["needless", "environments are named in the manifest"],
  pull_policy: ["needless", "an image is pinned to its digest, and pulled when the host lacks it"],
  platform: ["needless", "the host's own; an image for another is refused with that reason"],
  cap_drop: ["needless", "all are dropped"],
  security_opt: ["needless", "no-new-privileges always; nothing weaker can be asked for"],
  privileged: ["lost", "no container is privileged"],
  devices: ["lost", "no container gets a device"],
  device_cgroup_rules: ["lost", "no container gets a device"],
  gpus: ["lost", "no container gets a device"],
  pid: ["lost", "no container shares the host's processes"],
  ipc: ["lost", "no container shares the host's memory"],
  uts: ["lost", "no container shares the host's name"],
  userns_mode: ["lost", "the engine's own setting"],
  cgroup: ["lost", "the engine's own setting"],
  cgroup_parent: ["lost", "the engine's own setting"],
  runtime: ["lost", "the engine's own setting"],
  isolation: ["lost", "for Windows"],
  credential_spec: ["lost", "for Windows"],
  sysctls: ["lost", "set them on the host"],
  dns: ["lost", "the engine's own setting"],
  dns_opt: ["lost", "the engine's own setting"],
  dns_search: ["lost", "the engine's own setting"],
  domainname: ["lost", "set `extraHosts`, or a DNS name"],
  mac_address: ["lost", "the engine's own"],
  oom_kill_disable: ["lost", "an app over its memory is ended, and said to be"],
  oom_score_adj: ["lost", "set limits with `resources`"],
  memswap_limit: ["needless", "swap counts as memory"],
  mem_swappiness: ["needless", "swap counts as memory"],
  pids_limit: ["needless", "2,048 for every container"],
  cpu_shares: ["lost", "set `resources.cpus`"],
  cpu_quota: ["lost", "set `resources.cpus`"],
  cpu_period: ["lost", "set `resources.cpus`"],
  cpu_count: ["lost", "set `resources.cpus`"],
  cpu_percent: ["lost", "set `resources.cpus`"],
  cpu_rt_period: ["lost", "set `resources.cpus`"],
  cpu_rt_runtime: ["lost", "set `resources.cpus`"],
  cpuset: ["lost", "set `resources.cpus`"],
  blkio_config: ["lost", "nothing like it"],
  storage_opt: ["lost", "the engine's own setting"],
  tty: ["needless", "logs are lines; `sluice run` has a terminal's output"],
  stdin_open: ["needless", "nobody types into a release"],
  attach: ["needless", "`sluice logs` shows all"],
  working_dir: ["todo", "set WORKDIR in the image, or begin `command` with [sh, -c, cd …]"],
  configs: ["todo", "put each text under `files` of the accessory, `{ from: <file> }`"],
  secrets: ["todo", "sluice secrets set <NAME>; they are variables, not files"],
  volumes_from: ["lost", "name the volume in both"],
  extends: ["todo", "write out what it takes, or merge it with `<<: *name`"],
  develop: ["needless", "for the laptop"],
  provider: ["lost", "nothing like it"],
  models: ["lost", "nothing like it"],
  use_api_socket: ["lost", "no container gets the engine's socket"],
  post_start: ["todo", "use `hooks`, or the image's entrypoint"],
  pre_stop: ["todo", "handle SIGTERM; `stopGrace` is how long it may take"],
};

/** `env`, `secrets`, `command`, `container`, `volumes`, `resources`, `logging`, `stopGrace`. */
export function containerDraft(at: At): Draft {
  const { service, key, ledger } = at;
  const { env, secrets } = variablesOf(service.environment, `${key}.environment`, ledger);
  if (service.environment !== undefined && Object.keys(env).length + secrets.length === 0)
    ledger.note("needless", `${key}.environment`, "empty");
  const files = listOf(service.env_file);
  if (files.length > 0) {
    const names = files.map((file) => textOf(file) ?? textOf(recordOf(file).path) ?? "?");
    ledger.note(
      "todo",
      `${key}.env_file`,
      `${names.map((name) => `sluice secrets set --from ${name}`).join("; ")}, and name them under \`secrets\``,
    );
  }
  const take = <T>(name: string, became: string, value: T | undefined): T | undefined => {
    if (service[name] !== undefined)
      ledger.note(
        value === undefined ? "todo" : "taken",
        `${key}.${name}`,
        value === undefined ? `can't be read: set \`${became}\`` : became,
      );
    return value;
  };
  return compact({
    command: service.command === null ? undefined : take("command", "command", commandOf(service.command)),
    env,
    secrets,
    volumes: volumesOf(at),
    container: compact({
      entrypoint: take("entrypoint", "container.entrypoint", commandOf(service.entrypoint)),
      user: take("user", "container.user", textOf(service.user)),
      groups: take(
        "group_add",
        "container.groups",
        service.group_add === undefined ? undefined : textsOf(service.group_add),
      ),
      init: service.init === false ? take("init", "container.init", false) : noteInit(at),
      readOnly: take("read_only", "container.readOnly", service.read_only === true ? true : undefined),
      tmpfs: take(
        "tmpfs",
        "container.tmpfs",
        textsOf(service.tmpfs).map((path) => path.replace(/:.*$/, "")),
      ),
      capabilities: take(
        "cap_add",
        "container.capabilities",
        textsOf(service.cap_add).map((name) => name.replace(/^CAP_/, "")),
      ),
      ulimits: take("ulimits", "container.ulimits", ulimitsOf(service.ulimits)),
      stopSignal: take("stop_signal", "container.stopSignal", textOf(service.stop_signal)),
      shm: take("shm_size", "container.shm", sizeOf(service.shm_size)),
      extraHosts: take("extra_hosts", "container.extraHosts", hostsOf(service.extra_hosts)),
    }),
    resources: resourcesOf(at),
    logging: loggingOf(at),
    stopGrace: take("stop_grace_period", "stopGrace", durationOf(service.stop_grace_period)),
  });
}

function noteInit({ service, key, ledger }: At): undefined {
  if (service.init !== undefined) ledger.note("needless", `${key}.init`, "a small init is always PID 1");
  return undefined;
}

const ulimitsOf = (value: unknown) => {
  const limits = Object.entries(recordOf(value)).map(([name, limit]) => [
    name,
    Number(textOf(limit) ?? textOf(recordOf(limit).hard) ?? textOf(recordOf(limit).soft)),
  ]);
  return limits.length > 0 ? Object.fromEntries(limits) : undefined;
};

const hostsOf = (value: unknown): string[] | undefined => {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return textsOf(value).map((line) => line.replace("=", ":"));
  return Object.entries(recordOf(value)).map(([name, address]) => `${name}:${textOf(address) ?? ""}`);
};

function volumesOf({ service, key, ledger }: At): string[] {
  const taken: string[] = [];
  for (const [index, given] of listOf(service.volumes).entries()) {
    const at = `${key}.volumes`;
    const { source, target, readOnly } = mountOf(given);
    const name = `${source ?? ""}:${target}`;
    if (source === undefined)
      ledger.note(
        "todo",
        at,
        `volume ${index + 1} (${target}) has no name: give it one, such as data:${target}`,
      );
    else if (/^[./~]/.test(source) && !source.startsWith("/"))
      ledger.note(
        "todo",
        at,
        `${name}: a folder of this checkout isn't on the hosts; copy it in the Dockerfile, or use \`files\` of an accessory`,
      );
    else if (/docker\.sock$/.test(source))
      ledger.note("lost", at, `${name}: no container gets the engine's socket`);
    else {
      if (source.startsWith("/"))
        ledger.note("todo", at, `${name}: the host's policy file has to name ${source}`);
      else ledger.note("taken", at, `volumes: ${name}`);
      taken.push(`${name}${readOnly ? ":ro" : ""}`);
    }
  }
  return taken;
}

function mountOf(given: unknown): { source: string | undefined; target: string; readOnly: boolean } {
  if (typeof given !== "string") {
    const { source, target, read_only } = recordOf(given);
    return { source: textOf(source), target: textOf(target) ?? "/", readOnly: read_only === true };
  }
  const [first = "", second, mode = ""] = given.split(":");
  if (second === undefined) return { source: undefined, target: first, readOnly: false };
  return { source: first, target: second, readOnly: /\bro\b/.test(mode) };
}

function resourcesOf({ service, key, ledger }: At): Draft {
  const deploy = recordOf(service.deploy);
  const limits = recordOf(recordOf(deploy.resources).limits);
  const reservations = recordOf(recordOf(deploy.resources).reservations);
  const told = (at: string, became: string, value: unknown) => {
    if (value !== undefined) ledger.note("taken", at, became);
    return value;
  };
  const base = `${key}.deploy.resources`;
  const cpus =
    told(`${base}.limits.cpus`, "resources.cpus", limits.cpus) ??
    told(`${key}.cpus`, "resources.cpus", service.cpus);
  const memory =
    told(`${base}.limits.memory`, "resources.memory", sizeOf(limits.memory)) ??
    told(`${key}.mem_limit`, "resources.memory", sizeOf(service.mem_limit));
  const memoryReservation =
    told(`${base}.reservations.memory`, "resources.memoryReservation", sizeOf(reservations.memory)) ??
    told(`${key}.mem_reservation`, "resources.memoryReservation", sizeOf(service.mem_reservation));
  return compact({ cpus: cpus === undefined ? undefined : Number(cpus), memory, memoryReservation });
}

function loggingOf({ service, key, ledger }: At): Draft {
  const logging = recordOf(service.logging);
  const options = recordOf(logging.options);
  if (service.logging === undefined) return {};
  const driver = textOf(logging.driver);
  if (driver !== undefined) {
    const isOurs = driver === "json-file" || driver === "local";
    ledger.note(
      isOurs ? "needless" : "lost",
      `${key}.logging.driver`,
      "logs are the engine's files; `sluice logs` reads them",
    );
  }
  if (options["max-size"] !== undefined)
    ledger.note("taken", `${key}.logging.options.max-size`, "logging.maxSize");
  if (options["max-file"] !== undefined)
    ledger.note("taken", `${key}.logging.options.max-file`, "logging.maxFile");
  return compact({
    maxSize: sizeOf(options["max-size"]),
    maxFile: options["max-file"] === undefined ? undefined : Number(options["max-file"]),
  });
}

/** compose's `healthcheck:` as the manifest's check in the image's place. */
export function healthOf({ service, key, ledger }: At, became: string): unknown {
  const check = recordOf(service.healthcheck);
  if (service.healthcheck === undefined) return undefined;
  ledger.note("taken", `${key}.healthcheck`, became);
  const test = check.test;
  if (check.disable === true || (Array.isArray(test) && test[0] === "NONE")) return "off";
  const command = Array.isArray(test)
    ? test[0] === "CMD-SHELL"
      ? ["sh", "-c", ...textsOf(test.slice(1))]
      : textsOf(test[0] === "CMD" ? test.slice(1) : test)
    : ["sh", "-c", textOf(test) ?? "true"];
  return compact({
    command,
    interval: durationOf(check.interval),
    timeout: durationOf(check.timeout),
    startPeriod: durationOf(check.start_period),
    failures: check.retries === undefined ? undefined : Number(check.retries),
  });
}
