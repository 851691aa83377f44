import { type AccessoryView, accessorySchema } from "../../protocol/api/accessories.ts";
import { environmentPath, type Page, seg, type Wire } from "../wire.ts";

export class AccessoryCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  list(app: string, environment: string): Promise<Page<AccessoryView>> {
    return this.#wire.page(accessorySchema, `${environmentPath(app, environment)}/accessories`, {});
  }

  /** Has it started, stopped or upgraded; answers at once, and its `job` tells how it goes. */
  command(
    at: { app: string; environment: string; name: string },
    action: "start" | "stop" | "upgrade",
  ): Promise<AccessoryView> {
    const path = `${accessoryPath(at)}/${action}`;
    return this.#wire.parsed(accessorySchema, { method: "POST", path, json: {} });
  }

  /** Removes the container. Its volumes stay: the answer names them. */
  remove(at: { app: string; environment: string; name: string }): Promise<AccessoryView> {
    return this.#wire.parsed(accessorySchema, { method: "DELETE", path: accessoryPath(at) });
  }
}

const accessoryPath = (at: { app: string; environment: string; name: string }) =>
  `${environmentPath(at.app, at.environment)}/accessories/${seg(at.name)}`;
