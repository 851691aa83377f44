import { type ApplyAnswer, type AppView, applyAnswerSchema, appSchema } from "../../protocol/api/apps.ts";
import { type EndingView, endingSchema } from "../../protocol/api/endings.ts";
import { API, type Page, type PageQuery, seg, type Wire } from "../wire.ts";

export class AppCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Applies a manifest's text; with `dryRun` only answers what would change. `claim`: hostnames of other sites, too. */
  apply(
    app: string,
    manifest: string,
    options: { dryRun?: boolean; claim?: boolean } = {},
  ): Promise<ApplyAnswer> {
    return this.#wire.parsed(applyAnswerSchema, {
      method: "PUT",
      path: `${API}/apps/${seg(app)}`,
      query: { dryRun: options.dryRun ? 1 : undefined, claim: options.claim ? 1 : undefined },
      text: { body: manifest, type: "application/yaml" },
    });
  }

  list(page: PageQuery = {}): Promise<Page<AppView>> {
    return this.#wire.page(appSchema, `${API}/apps`, page);
  }

  get(app: string): Promise<AppView> {
    return this.#wire.get(appSchema, `${API}/apps/${seg(app)}`);
  }

  /** Ends an environment, or without one the whole app. Answers what that still waits for; said again, how far it is. */
  destroy({ app, environment }: { app: string; environment?: string | undefined }): Promise<EndingView> {
    const path = `${API}/apps/${seg(app)}${environment === undefined ? "" : `/envs/${seg(environment)}`}`;
    const confirm = environment === undefined ? app : `${app}/${environment}`;
    return this.#wire.parsed(endingSchema, { method: "DELETE", path, query: { confirm } });
  }
}
