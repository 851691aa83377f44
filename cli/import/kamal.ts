import type { ComposeOptions, Read } from "./compose.ts";
import { filled } from "./erb.ts";
import { optionsOf } from "./kamal-options.ts";
import { Ledger, noteReasons, type Reasons, recordOf, textOf, textsOf } from "./ledger.ts";
import {
  commandOf,
  compact,
  type Draft,
  durationOf,
  nameOf,
  PLACEHOLDER_HOSTNAME,
  sizeOf,
  takenDuration,
  withoutTag,
} from "./values.ts";

type Table = Readonly<Record<string, unknown>>;

/** Kamal 2's `config/deploy.yml` as a manifest. */
export function readKamal(
  source: unknown,
  options: Pick<ComposeOptions, "image" | "hostname" | "folder">,
): Read {
  const file = recordOf(source);
  if (file.service === undefined) return { problem: "it has no `service`, so it is no deploy.yml of Kamal" };
  const ledger = new Ledger();
  const proxy = recordOf(file.proxy);
  const hostnames =
    options.hostname === undefined ? [...textsOf(proxy.host), ...textsOf(proxy.hosts)] : [options.hostname];
  ledger.note("taken", "service", "app");
  ledger.note("taken", "image", "image");
  if (proxy.host !== undefined) ledger.note("taken", "proxy.host", "environments.production.hostnames");
  if (proxy.hosts !== undefined) ledger.note("taken", "proxy.hosts", "environments.production.hostnames");
  if (hostnames.length === 0)
    ledger.note("todo", "environments.production.hostnames", "no `proxy.host` names one: set the app's");
  noteReasons(ledger, "", file, REASONS);
  noteReasons(ledger, "proxy.", proxy, PROXY);
  const registry = textOf(recordOf(file.registry).server);
  const image =
    options.image ??
    [registry, withoutTag(textOf(file.image) ?? nameOf(options.folder))].filter(Boolean).join("/");
  const { env, secrets } = variables(recordOf(file.env), "env", ledger);
  const draft = compact({
    app: nameOf(textOf(file.service) ?? options.folder),
    image,
    port: port(proxy, ledger),
    health: healthDraft(proxy, ledger),
    env,
    secrets,
    ...webOf(file, ledger),
    volumes: volumes(file.volumes, "volumes", ledger),
    logging: logging(file, ledger),
    drain: takenDuration(ledger, { value: file.drain_timeout, key: "drain_timeout", became: "drain" }),
    stopGrace: takenDuration(ledger, {
      value: file.stop_wait_time,
      key: "stop_wait_time",
      became: "stopGrace",
    }),
    processes: processes(file, ledger),
    accessories: accessories(file, ledger),
    environments: { production: environment(file, hostnames, ledger) },
  });
  return { draft, ledger };
}

/** What the web's role says of its containers. */
function webOf(file: Table, ledger: Ledger): Draft {
  const web = recordOf(recordOf(file.servers).web);
  const command = commandOf(web.cmd);
  if (command)
    ledger.note(
      textOf(web.cmd)?.includes("<%") ? "todo" : "taken",
      "servers.web.cmd",
      textOf(web.cmd)?.includes("<%") ? "command: what Ruby filled in is left to write" : "command",
    );
  return { command, ...optionsOf(web.options, "servers.web", ledger) };
}

const REASONS: Reasons = {
  registry: ["todo", "sluice registry set <server>, with the user and the password it asks for"],
  builder: [
    "todo",
    "the image is built before a deploy, in CI or by `docker build`, and pushed where the hosts can pull it",
  ],
  ssh: ["needless", "nothing is reached by SSH: an agent on each host asks for its work"],
  sshkit: ["needless", "nothing is reached by SSH"],
  boot: ["todo", "strategy: rolling, with maxSurge, says how many at a time"],
  asset_path: [
    "lost",
    "old assets are not copied into the new container; keep them where both releases find them",
  ],
  hooks_path: ["todo", "`hooks.expand` and `hooks.contract` run in the new image; others belong into CI"],
  require_destination: ["needless", "environments stand in one manifest"],
  primary_role: ["needless", "the app is what has a port"],
  allow_empty_roles: ["needless", "not needed"],
  retain_containers: ["needless", "`keep` says how long a release stays warm"],
  minimum_version: ["needless", "control serves the command line that fits it"],
  readiness_delay: ["needless", "readiness is asked, not waited for"],
  deploy_timeout: ["todo", "health.startup.deadline"],
  run_directory: ["needless", "not needed"],
  error_pages_path: ["lost", "the edge answers with a page of its own"],
  labels: ["needless", "not read"],
  traefik: ["needless", "the edge routes"],
  aliases: ["lost", "write them as scripts around `sluice run`"],
  healthcheck: ["todo", "health.readiness"],
  secrets_path: ["needless", "secrets are kept by control"],
};

const PROXY: Reasons = {
  ssl: ["needless", "Cloudflare ends TLS"],
  ssl_redirect: ["needless", "set Always Use HTTPS in the zone"],
  forward_headers: ["needless", "X-Forwarded-* are set"],
  buffering: ["needless", "everything is streamed"],
  logging: ["needless", "sluice logs"],
  run: ["needless", "there is no proxy on the host"],
  path_prefix: ["todo", "write it behind the hostname: shop.example.com/api"],
  path_prefixes: ["todo", "write each behind the hostname: shop.example.com/api"],
  strip_path_prefix: [
    "todo",
    "`stripPrefix: true` beside `hostnames` cuts the path off; Kamal does unless told otherwise, Sluice only if told",
  ],
};

/** `clear`, `secret`, or plain names in Kamal's older form; ERB was never run. */
function variables(value: Table, key: string, ledger: Ledger): { env: Draft; secrets: string[] } {
  const clear = recordOf(
    value.clear ?? (value.secret === undefined && value.tags === undefined ? value : {}),
  );
  const at = value.clear === undefined ? key : `${key}.clear`;
  const env: Draft = {};
  for (const [name, given] of Object.entries(clear)) {
    const text = textOf(given) ?? "";
    if (name === "PORT") ledger.note("needless", `${at}.${name}`, "Sluice sets PORT from `port`");
    else if (text.includes("<%") || given === null) {
      env[name] = `\${${name}}`;
      ledger.note(
        "taken",
        `${at}.${name}`,
        `env.${name}, filled in from the variable of that name when it is applied${given === null ? "" : " (it was ERB)"}`,
      );
    } else {
      env[name] = text;
      ledger.note("taken", `${at}.${name}`, `env.${name}`);
    }
  }
  const secrets = textsOf(value.secret).map((line) => line.split(":")[0] ?? line);
  if (secrets.length > 0)
    ledger.note("todo", `${key}.secret`, `secrets; give each its value: sluice secrets set ${secrets[0]}`);
  if (value.tags !== undefined)
    ledger.note("lost", `${key}.tags`, "variables are the environment's, the same on all hosts");
  return { env, secrets };
}

function port(proxy: Table, ledger: Ledger): number {
  if (proxy.app_port === undefined) return 80;
  ledger.note("taken", "proxy.app_port", "port");
  return Number(proxy.app_port);
}

function healthDraft(proxy: Table, ledger: Ledger): Draft {
  const check = recordOf(proxy.healthcheck);
  for (const key of ["path", "interval", "timeout"])
    if (check[key] !== undefined) ledger.note("taken", `proxy.healthcheck.${key}`, `health.readiness.${key}`);
  // Kamal's own default.
  const path = textOf(check.path) ?? "/up";
  return {
    readiness: compact({ path, interval: durationOf(check.interval), timeout: durationOf(check.timeout) }),
  };
}

function volumes(value: unknown, key: string, ledger: Ledger): string[] {
  const given = textsOf(value).map(filled);
  for (const one of given) {
    const isFolder = one.startsWith("/");
    ledger.note(
      isFolder ? "todo" : "taken",
      key,
      isFolder ? `${one}: the host's policy file has to name it` : `volumes: ${one}`,
    );
  }
  return given.filter((one) => one.includes(":"));
}

function logging(file: Table, ledger: Ledger): Draft {
  const options = recordOf(recordOf(file.logging).options);
  if (file.logging === undefined) return {};
  ledger.note("taken", "logging", "logging");
  return compact({
    maxSize: sizeOf(options["max-size"]),
    maxFile: options["max-file"] === undefined ? undefined : Number(options["max-file"]),
  });
}

/** Roles beside `web`. A role's hosts are chosen by label here. */
function processes(file: Table, ledger: Ledger): Draft {
  const servers = recordOf(file.servers);
  if (Array.isArray(file.servers))
    ledger.note("todo", "servers", `enrol each as a host: ${textsOf(file.servers).map(enrol).join("; ")}`);
  const roles = Object.entries(servers).filter(([name]) => name !== "web");
  for (const [name, role] of Object.entries(servers)) {
    const hosts = [
      ...textsOf(Array.isArray(role) ? role : recordOf(role).hosts),
      // A host may carry tags: `- 192.0.2.1: [monitoring]`.
      ...(Array.isArray(role) ? role.flatMap((one) => Object.keys(recordOf(one))) : []),
    ];
    ledger.note(
      "todo",
      Array.isArray(role) ? `servers.${name}` : `servers.${name}.hosts`,
      `enrol each as a host: ${[...new Set(hosts)].map(enrol).join("; ") || "sluice hosts enroll <name>"}`,
    );
  }
  return Object.fromEntries(
    roles.map(([name, role]) => [nameOf(name), processOf(name, recordOf(role), ledger)]),
  );
}

const enrol = (host: string) => `sluice hosts enroll ${nameOf(host)}`;

function processOf(name: string, role: Table, ledger: Ledger): Draft {
  const key = `servers.${name}`;
  if (role.cmd !== undefined) ledger.note("taken", `${key}.cmd`, `processes.${nameOf(name)}.command`);
  for (const option of Object.keys(recordOf(role.options)))
    ledger.note(
      "todo",
      `${key}.options.${option}`,
      "the app's `resources` and `container` are its processes', too",
    );
  if (role.proxy === false) ledger.note("needless", `${key}.proxy`, "a process has no port");
  else if (role.proxy !== undefined)
    ledger.note(
      "lost",
      `${key}.proxy`,
      "one process of an app has a port; another one with a hostname is an app of its own",
    );
  if (role.env !== undefined)
    ledger.note("todo", `${key}.env`, "the app's variables are its processes', too");
  if (role.logging !== undefined) ledger.note("needless", `${key}.logging`, "the app's");
  return { command: commandOf(role.cmd) ?? ["CHANGE-ME"] };
}

function accessories(file: Table, ledger: Ledger): Draft {
  const all = Object.entries(recordOf(file.accessories));
  return Object.fromEntries(
    all.map(([name, value]) => [nameOf(name), accessoryOf(name, recordOf(value), ledger)]),
  );
}

function accessoryOf(name: string, value: Table, ledger: Ledger): Draft {
  const key = `accessories.${name}`;
  const told = (part: string, became: string) => {
    if (value[part] !== undefined) ledger.note("taken", `${key}.${part}`, `${key}.${became}`);
  };
  told("image", "image");
  told("cmd", "command");
  const hosts = textsOf(value.host ?? value.hosts);
  if (hosts.length > 0)
    ledger.note(
      "todo",
      `${key}.${value.host === undefined ? "hosts" : "host"}`,
      `${hosts.join(", ")}: \`host\` is the name under which it is enrolled`,
    );
  for (const part of ["role", "roles", "tag", "tags"])
    if (value[part] !== undefined) ledger.note("todo", `${key}.${part}`, "`host` names where it lives");
  if (value.port !== undefined)
    ledger.note(
      "needless",
      `${key}.port`,
      "an accessory has no port on the host; the app reaches it by its name",
    );
  if (value.network !== undefined)
    ledger.note("needless", `${key}.network`, "each environment has a private network of its own");
  if (value.proxy !== undefined)
    ledger.note(
      "todo",
      `${key}.proxy`,
      "what visitors reach is an app of its own: give it a manifest, with its own hostname or a path of the app's",
    );
  for (const part of ["labels", "registry"])
    if (value[part] !== undefined) ledger.note("needless", `${key}.${part}`, "not read, or the app's");
  const files = Object.fromEntries(
    textsOf(value.files).map((line) => [line.split(":")[1] ?? "/CHANGE-ME", { from: line.split(":")[0] }]),
  );
  if (value.files !== undefined)
    ledger.note("taken", `${key}.files`, `${key}.files, read when the manifest is applied`);
  const directories = textsOf(value.directories).map(
    (line) => `${nameOf(line.split(":")[0] ?? "data")}:${line.split(":")[1] ?? "/data"}`,
  );
  if (directories.length > 0)
    ledger.note(
      "todo",
      `${key}.directories`,
      "volumes of their own; copy what the old directories hold into them",
    );
  const { env, secrets } = variables(recordOf(value.env), `${key}.env`, ledger);
  return compact({
    image: textOf(value.image),
    command: commandOf(value.cmd),
    ...optionsOf(value.options, key, ledger),
    env,
    secrets,
    volumes: [...volumes(value.volumes, `${key}.volumes`, ledger), ...directories],
    files,
  });
}

function environment(file: Table, hostnames: readonly string[], ledger: Ledger): Draft {
  const response = takenDuration(ledger, {
    value: recordOf(file.proxy).response_timeout,
    key: "proxy.response_timeout",
    became: "environments.production.timeouts.response",
  });
  const web = recordOf(file.servers).web;
  const hosts = textsOf(Array.isArray(web) ? web : recordOf(web).hosts);
  return compact({
    hostnames: hostnames.length > 0 ? [...hostnames] : [PLACEHOLDER_HOSTNAME],
    replicas: hosts.length > 1 ? hosts.length : undefined,
    timeouts: compact({ response }),
  });
}
