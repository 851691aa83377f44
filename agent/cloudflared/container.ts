import { randomBytes } from "node:crypto";
import { z } from "zod";
import { done, failed, type Outcome, words } from "../outcome.ts";
import { containerCalls, tail } from "../runtime/docker/calls.ts";
import { blankLabels } from "../runtime/docker/container.ts";
import { type Engine, EngineError } from "../runtime/docker/engine.ts";
import {
  type Connector,
  type Connectors,
  cloudflaredArgs,
  freePort,
  hashOf,
  PASSED_ON,
  RETIRE_WITHIN_MS,
} from "./connectors.ts";

/** Pinned: a host runs what was tried with this agent, until somebody names another. */
const CLOUDFLARED_IMAGE = "cloudflare/cloudflared:2026.8.2";

/** A number nobody has: install.sh tells its packets by it. The image needs no user of its own. */
const USER = "64653:64653";
const PIDS = 512;
const MEMORY_BYTES = 1 << 30;

const LABEL = "sluice.cloudflared";
/** In the name, since labels can't be changed. */
const RETIRED = "-retired";
const LIST_WITHIN_MS = 10_000;
const PULL_WITHIN_MS = 300_000;
const LINES = 200;

const rowsSchema = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()),
    State: z.string(),
    Created: z.number(),
    Labels: z.record(z.string(), z.string()),
  }),
);

/** cloudflared as containers on the host's network. The engine starts them again after a reboot, before any agent is there. */
export class ContainerConnectors implements Connectors {
  readonly kind = "container";
  readonly #engine: Engine;
  readonly #host: string;
  readonly #image: string;
  readonly #calls: ReturnType<typeof containerCalls>;
  readonly #ending = new Set<string>();

  /** `host`: its id, since an engine may serve several agents. */
  constructor(options: { engine: Engine; host: string; image?: string | undefined }) {
    this.#engine = options.engine;
    this.#host = options.host;
    this.#image = options.image ?? CLOUDFLARED_IMAGE;
    this.#calls = containerCalls(options.engine, async () => {}); // made from nothing of control's
  }

  async start(token: string): Promise<Outcome<void>> {
    try {
      await ensureImage(this.#engine, this.#image);
      const port = await freePort();
      const name = `sluice-cloudflared-${randomBytes(4).toString("hex")}`;
      await this.#calls.create(name, config({ host: this.#host, image: this.#image, port, token }));
      await this.#calls.start(name);
      return done(undefined);
    } catch (thrown) {
      return failed("start_failed", `cloudflared can't be started as a container: ${words(thrown)}`);
    }
  }

  async list(): Promise<Outcome<Connector[]>> {
    try {
      const rows = await this.#engine.json(rowsSchema, "GET", "/containers/json", {
        query: { all: "1", filters: JSON.stringify({ label: [`${LABEL}=${this.#host}`] }) },
        signal: AbortSignal.timeout(LIST_WITHIN_MS),
      });
      // By its name, too: a label can come with an image.
      const found = rows.filter(isConnector).map(asConnector);
      // Told to end by an agent that is gone: the engine may have forgotten.
      for (const one of found) if (one.retiring && one.running) void this.#stop(one.id);
      return done(found);
    } catch (thrown) {
      return failed("runtime_unavailable", `cloudflared's containers can't be listed: ${words(thrown)}`);
    }
  }

  async retire({ id }: Connector): Promise<void> {
    const container = await this.#calls.inspect(id);
    if (!container) return;
    const name = `sluice-cloudflared-${id.slice(0, 12)}${RETIRED}`;
    await this.#engine.bytes("POST", `/containers/${id}/rename`, { query: { name } }).catch((thrown) => {
      if (!(thrown instanceof EngineError)) throw thrown; // refused: it has that name already
    });
    void this.#stop(id);
  }

  discard({ id }: Connector): Promise<void> {
    return this.#calls.remove(id);
  }

  lines({ id }: Connector): Promise<string[]> {
    return tail(this.#engine, id, LINES);
  }

  async #stop(id: string): Promise<void> {
    if (this.#ending.has(id)) return;
    this.#ending.add(id);
    try {
      await this.#calls.stop(id, RETIRE_WITHIN_MS);
    } catch {
      // The engine is away, or it is gone: the next look at the list tells, and asks again.
    } finally {
      this.#ending.delete(id);
    }
  }
}

type Row = z.infer<typeof rowsSchema>[number];

const isConnector = ({ Names }: Row) => Names.some((name) => name.startsWith("/sluice-cloudflared-"));

const asConnector = ({ Id, Names, State, Created, Labels }: Row): Connector => ({
  id: Id,
  port: Number(Labels[`${LABEL}.port`]),
  tokenHash: Labels[`${LABEL}.token`] ?? "",
  startedAt: Created * 1000,
  running: State === "running" || State === "restarting",
  retiring: Names.some((name) => name.endsWith(RETIRED)),
});

function config(of: { host: string; image: string; port: number; token: string }) {
  const passed = PASSED_ON.flatMap((name) => (process.env[name] ? [`${name}=${process.env[name]}`] : []));
  return {
    Image: of.image,
    User: USER,
    Cmd: cloudflaredArgs(of.port),
    // A file would have to be readable by the image's user; who may inspect containers is root here anyway.
    Env: [`TUNNEL_TOKEN=${of.token}`, ...passed],
    Labels: {
      ...blankLabels(),
      [LABEL]: of.host,
      [`${LABEL}.port`]: String(of.port),
      [`${LABEL}.token`]: hashOf(of.token),
    },
    StopTimeout: RETIRE_WITHIN_MS / 1_000,
    HostConfig: {
      NetworkMode: "host",
      RestartPolicy: { Name: "unless-stopped" },
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
      PidsLimit: PIDS,
      Memory: MEMORY_BYTES,
      LogConfig: { Type: "json-file", Config: { "max-size": "2m", "max-file": "2" } },
    },
  };
}

async function ensureImage(engine: Engine, image: string): Promise<void> {
  const signal = AbortSignal.timeout(PULL_WITHIN_MS);
  try {
    await engine.bytes("GET", `/images/${image}/json`, { signal });
    return;
  } catch (thrown) {
    if (!(thrown instanceof EngineError && thrown.status === 404)) throw thrown;
  }
  const said = engine.messages("POST", "/images/create", { query: { fromImage: image }, signal });
  for await (const message of said) {
    if (typeof message === "object" && message !== null && "error" in message)
      throw new Error(`${image} can't be pulled: ${message.error}`);
  }
}
