import { containerDraft, healthOf, REASONS } from "./compose-container.ts";
import { Ledger, listOf, noteReasons, recordOf, textOf, textsOf } from "./ledger.ts";
import { compact, type Draft, nameOf, PLACEHOLDER_HOSTNAME, withoutTag } from "./values.ts";

type Service = Readonly<Record<string, unknown>>;

export interface ComposeOptions {
  /** Which service is the app; absent: the one that has a port and is built, or a port alone. */
  readonly service?: string | undefined;
  readonly image?: string | undefined;
  readonly hostname?: string | undefined;
  /** The folder's name, for an app without one of its own. */
  readonly folder: string;
}

export type Read = { readonly draft: Draft; readonly ledger: Ledger } | { readonly problem: string };

/** A file of the Compose Specification as a manifest: one service is the app, those of its image its processes, others accessories. */
export function readCompose(source: unknown, options: ComposeOptions): Read {
  const file = recordOf(source);
  const services = Object.entries(recordOf(file.services)).map(([name, service]) => ({
    name,
    service: recordOf(service),
  }));
  const app = appOf(services, options.service);
  if ("problem" in app) return app;
  const ledger = new Ledger();
  noteTop(file, ledger);
  const image = options.image ?? withoutTag(textOf(app.service.image) ?? nameOf(app.name));
  const processes: Draft = {};
  const accessories: Draft = {};
  for (const one of services.filter(({ name }) => name !== app.name)) {
    if (isSameImage(app.service, one.service)) processes[nameOf(one.name)] = processDraft(one, ledger);
    else if (one.service.build !== undefined)
      ledger.note(
        "todo",
        `services.${one.name}`,
        "is built by itself, so it is an app of its own: import it with --service, into a folder of its own",
      );
    else accessories[nameOf(one.name)] = accessoryDraft(one, ledger);
  }
  const draft = compact({
    app: nameOf(textOf(file.name) ?? options.folder),
    image,
    ...appDraft(app, ledger),
    processes,
    accessories,
    environments: { production: environmentDraft(app, options.hostname, ledger) },
  });
  return { draft: withNeeds(draft, app, ledger), ledger };
}

interface Named {
  readonly name: string;
  readonly service: Service;
}

function appOf(services: readonly Named[], asked: string | undefined): Named | { problem: string } {
  const known = services.map(({ name }) => name).join(", ");
  if (services.length === 0) return { problem: "it has no `services`" };
  if (asked !== undefined) {
    const found = services.find(({ name }) => name === asked);
    return found ?? { problem: `it has no service ${asked}; it has ${known}` };
  }
  const withPorts = services.filter(({ service }) => service.ports !== undefined);
  const built = services.filter(({ service }) => service.build !== undefined);
  const candidates = [
    withPorts.filter(({ service }) => service.build !== undefined),
    built,
    withPorts,
    services,
  ].find((list) => list.length > 0);
  const [first, ...others] = candidates ?? [];
  if (first && others.length === 0) return first;
  const named = candidates?.find(({ name }) => /^(web|app|server|api)$/.test(name));
  return named ?? { problem: `which of its services is the app? Say --service <name>: ${known}` };
}

const TOP: Readonly<Record<string, string>> = {
  version: "not read by compose either",
  networks: "each environment has a private network of its own",
  volumes: "volumes are made when they are first used",
};

function noteTop(file: Readonly<Record<string, unknown>>, ledger: Ledger): void {
  for (const [key, words] of Object.entries(TOP))
    if (file[key] !== undefined) ledger.note("needless", key, words);
  if (file.name !== undefined) ledger.note("taken", "name", "app");
  for (const key of ["secrets", "configs"])
    if (file[key] !== undefined)
      ledger.note(
        "todo",
        key,
        key === "secrets" ? "sluice secrets set <NAME>" : "`files` of the accessory that reads them",
      );
  for (const key of ["include", "models"])
    if (file[key] !== undefined) ledger.note("todo", key, "import that file, too");
  for (const key of Object.keys(file))
    if (key.startsWith("x-")) ledger.note("needless", key, "its anchors are filled in");
}

/** The same build, or the same image: another process of the app. */
function isSameImage(app: Service, other: Service): boolean {
  const image = (service: Service) => textOf(service.image);
  if (image(app) !== undefined && image(app) === image(other)) return true;
  return (
    app.build !== undefined &&
    other.build !== undefined &&
    JSON.stringify(app.build) === JSON.stringify(other.build)
  );
}

function noteImage({ name, service }: Named, ledger: Ledger): void {
  const key = `services.${name}`;
  if (service.image !== undefined)
    ledger.note("taken", `${key}.image`, "image, without its tag: a deploy says which");
  if (service.build !== undefined)
    ledger.note(
      "todo",
      `${key}.build`,
      "the image is built before a deploy, and pushed where the hosts can pull it",
    );
  if (service.platform !== undefined) return;
}

function appDraft(app: Named, ledger: Ledger): Draft {
  const key = `services.${app.name}`;
  const at = { service: app.service, key, ledger };
  noteImage(app, ledger);
  noteReasons(ledger, `${key}.`, at.service, REASONS);
  const { command, env, secrets, volumes, container, resources, logging, stopGrace } = containerDraft(at);
  const image = healthOf(at, "health.image");
  return {
    port: portOf(app, ledger),
    command,
    env,
    secrets,
    health: compact({ image }),
    volumes,
    container,
    resources,
    logging,
    stopGrace,
  };
}

const DEFAULT_PORT = 3000;

function portOf({ name, service }: Named, ledger: Ledger): number {
  const key = `services.${name}.ports`;
  const ports = listOf(service.ports).map(containerPort);
  const [port] = ports;
  if (port === undefined) {
    ledger.note(
      "todo",
      `services.${name}`,
      `it publishes no port: \`port\` is ${DEFAULT_PORT}; set what the app listens on`,
    );
    return DEFAULT_PORT;
  }
  ledger.note("taken", key, `port: ${port}; no port of the host is opened`);
  for (const other of ports.slice(1))
    ledger.note(
      "lost",
      key,
      `${other}: an app has one port, by HTTP; other ports aren't published through a tunnel`,
    );
  return port;
}

/** `8080:3000/tcp`, `127.0.0.1:8080:3000`, `{ target: 3000 }` */
function containerPort(given: unknown): number {
  const target = textOf(recordOf(given).target) ?? textOf(given) ?? "";
  return Number(/(\d+)(?:-\d+)?(?:\/\w+)?$/.exec(target)?.[1] ?? DEFAULT_PORT);
}

function environmentDraft({ name, service }: Named, hostname: string | undefined, ledger: Ledger): Draft {
  const replicas = textOf(recordOf(service.deploy).replicas) ?? textOf(service.scale);
  const deploy = recordOf(service.deploy);
  const key = `services.${name}.deploy`;
  if (deploy.replicas !== undefined) ledger.note("taken", `${key}.replicas`, "replicas");
  if (service.scale !== undefined) ledger.note("taken", `services.${name}.scale`, "replicas");
  for (const [part, words] of Object.entries(DEPLOY))
    if (deploy[part] !== undefined) ledger.note("needless", `${key}.${part}`, words);
  const fromLabels = hostsInLabels(service.labels);
  if (hostname === undefined && fromLabels.length === 0)
    ledger.note(
      "todo",
      "environments.production.hostnames",
      "a compose file names no hostname: set the app's",
    );
  return compact({
    hostnames:
      hostname === undefined ? (fromLabels.length > 0 ? fromLabels : [PLACEHOLDER_HOSTNAME]) : [hostname],
    replicas: replicas === undefined || replicas === "1" ? undefined : Number(replicas),
  });
}

const DEPLOY: Readonly<Record<string, string>> = {
  mode: "instances are counted by `replicas`",
  placement: "hosts are chosen by their labels: `hosts`",
  restart_policy: "what ends is started again, with a growing pause",
  update_config: "`strategy` says how a release replaces another",
  rollback_config: "a release that fails is taken back",
  endpoint_mode: "the edge spreads the visitors",
  labels: "not read",
};

/** Traefik's `Host(...)` rules, where people have them. */
function hostsInLabels(labels: unknown): string[] {
  const lines = [
    ...textsOf(labels),
    ...Object.values(recordOf(labels)).flatMap((value) => textOf(value) ?? []),
  ];
  const found = lines.flatMap((line) =>
    [...line.matchAll(/Host\(([^)]*)\)/g)].flatMap(
      ([, inside = ""]) => inside.match(/[\w.-]+\.[a-z]{2,}/gi) ?? [],
    ),
  );
  return [...new Set(found)];
}

/** What a process has of its own; the rest is the app's. */
function processDraft({ name, service }: Named, ledger: Ledger): Draft {
  const key = `services.${name}`;
  const at = { service, key, ledger };
  noteReasons(ledger, `${key}.`, at.service, REASONS);
  const own = containerDraft({ ...at, ledger: new Ledger() });
  const health = healthOf(at, `processes.${nameOf(name)}.health`);
  const replicas = textOf(recordOf(service.deploy).replicas);
  if (service.command !== undefined)
    ledger.note("taken", `${key}.command`, `processes.${nameOf(name)}.command`);
  ledger.note(
    "taken",
    key,
    `processes.${nameOf(name)}: of the app's image, with its variables, volumes and container`,
  );
  const command = typeof health === "object" && health !== null ? recordOf(health).command : undefined;
  return compact({
    command: own.command ?? ["CHANGE-ME"],
    replicas: replicas === undefined || replicas === "1" ? undefined : Number(replicas),
    stopGrace: own.stopGrace,
    health: command === undefined ? undefined : { command },
  });
}

function accessoryDraft(one: Named, ledger: Ledger): Draft {
  const key = `services.${one.name}`;
  const at = { service: one.service, key, ledger };
  noteReasons(ledger, `${key}.`, at.service, REASONS);
  ledger.note("taken", `${key}.image`, `accessories.${nameOf(one.name)}.image`);
  if (one.service.ports !== undefined)
    ledger.note(
      "needless",
      `${key}.ports`,
      "an accessory has no port on the host; the app reaches it by its name",
    );
  if (one.service.depends_on !== undefined)
    ledger.note("lost", `${key}.depends_on`, "accessories don't wait for each other");
  if (one.service.deploy !== undefined)
    ledger.note("needless", `${key}.deploy`, "an accessory is one container");
  const { command, env, secrets, volumes, container, resources, logging, stopGrace } = containerDraft(at);
  const health = healthOf(at, `accessories.${nameOf(one.name)}.health`);
  return compact({
    image: textOf(one.service.image),
    command,
    env,
    secrets,
    volumes,
    health,
    container,
    resources,
    logging,
    stopGrace,
  });
}

/** Who waits for an accessory: `needs`. */
function withNeeds(draft: Draft, { name, service }: Named, ledger: Ledger): Draft {
  const given = Array.isArray(service.depends_on)
    ? textsOf(service.depends_on)
    : Object.keys(recordOf(service.depends_on));
  if (given.length === 0) return draft;
  const known = Object.keys(recordOf(draft.accessories));
  const needs = given.map(nameOf).filter((one) => known.includes(one));
  const key = `services.${name}.depends_on`;
  ledger.note(
    "taken",
    key,
    needs.length > 0 ? `needs: ${needs.join(", ")}` : "processes start with the release",
  );
  return compact({ ...draft, needs });
}
