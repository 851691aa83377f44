import type { z } from "zod";
import { againSchema, type CreateRun, type RunView, runSchema } from "../../protocol/api/runs.ts";
import { environmentPath, type Page, type PageQuery, seg, type Wire } from "../wire.ts";

type Again = z.output<typeof againSchema>;

/** What runs beside the web, and how many of what. */
export class ProcessCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Runs of schedules and people's commands, newest first. */
  runs(
    app: string,
    environment: string,
    page: PageQuery & { process?: string } = {},
  ): Promise<Page<RunView>> {
    const query = page.process === undefined ? "" : `?process=${seg(page.process)}`;
    return this.#wire.page(runSchema, `${environmentPath(app, environment)}/runs${query}`, page);
  }

  run(app: string, environment: string, id: string): Promise<RunView> {
    return this.#wire.get(runSchema, `${environmentPath(app, environment)}/runs/${seg(id)}`);
  }

  /** Begins a command in the live image. Not retried: it might be begun twice. */
  begin(app: string, environment: string, body: CreateRun): Promise<RunView> {
    const path = `${environmentPath(app, environment)}/runs`;
    return this.#wire.parsed(runSchema, { method: "POST", path, json: body });
  }

  stop(app: string, environment: string, id: string): Promise<RunView> {
    const path = `${environmentPath(app, environment)}/runs/${seg(id)}/stop`;
    return this.#wire.parsed(runSchema, { method: "POST", path });
  }

  restart(app: string, environment: string): Promise<Again> {
    const path = `${environmentPath(app, environment)}/restart`;
    return this.#wire.parsed(againSchema, { method: "POST", path });
  }

  scale(app: string, environment: string, counts: Readonly<Record<string, number>>): Promise<Again> {
    const path = `${environmentPath(app, environment)}/scale`;
    return this.#wire.parsed(againSchema, { method: "PUT", path, json: { counts } });
  }
}
