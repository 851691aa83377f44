import { readFile } from "node:fs/promises";
import path from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import type { ReleaseView } from "../../../src/protocol/api/releases.ts";
import { callCli, type Ran } from "../cli/run-cli.ts";
import { Installation } from "../stack/installation.ts";
import type { Step } from "./shop.ts";
import type { ShopEnv } from "./shop-stand.ts";

const MANIFEST = path.resolve(import.meta.dirname, "../../../examples/shop/sluice.yaml");
const HOSTNAME = "shop.localhost";
const HOOKS_READ = 200;

export interface ShopOptions {
  runtime: "process" | "docker";
  /** What `image` names lies under it, for the process runtime. */
  processRoot: string;
  image: (step: Step) => string;
  /** Variables of each shop. */
  env: ShopEnv;
  /** How long the rollback window stays open, such as `10s`. */
  keep: string;
}

/** Control, edge and two hosts, for the shop with its own sluice.yaml. */
export class ShopInstallation {
  readonly #sluice: Installation;
  readonly #options: ShopOptions;
  #manifest = "";

  private constructor(sluice: Installation, options: ShopOptions) {
    this.#sluice = sluice;
    this.#options = options;
  }

  static async start(options: ShopOptions): Promise<ShopInstallation> {
    const { runtime, processRoot } = options;
    return new ShopInstallation(await Installation.start({ runtime, processRoot }), options);
  }

  /** Where visitors find the shop. */
  get url(): string {
    return `http://${HOSTNAME}:${new URL(this.#sluice.edgeUrl).port}`;
  }

  get client() {
    return this.#sluice.client;
  }

  /** Deploys a step as `v<step>` by the real CLI, whatever comes of it. */
  async tryDeploy(step: Step, strategy: unknown): Promise<Ran> {
    this.#manifest = await shopManifest(this.#options, step, strategy);
    return this.sluice(["deploy", "--apply", "--version", `v${step}`]);
  }

  /** The same for a release that has to go live. */
  async deploy(step: Step, strategy: unknown): Promise<ReleaseView> {
    const { code, stderr } = await this.tryDeploy(step, strategy);
    if (code !== 0) throw new Error(`deploying v${step} ended with ${code}:\n${stderr}`);
    return this.reaches(step, ["settling", "live"]);
  }

  /** Waits until the release of a step is in one of the states. */
  reaches(step: Step, states: readonly ReleaseView["state"][]): Promise<ReleaseView> {
    return this.#sluice.reaches("shop", `v${step}`, states);
  }

  /** Runs the real CLI beside the manifest that was deployed last. */
  sluice(args: readonly string[]): Promise<Ran> {
    return callCli(args, {
      url: this.#sluice.controlUrl,
      env: { SLUICE_TOKEN: this.#sluice.home.token },
      files: { "sluice.yaml": this.#manifest },
    });
  }

  /** What runs with traffic: weights by version. */
  async split(): Promise<Record<string, number>> {
    const { environment } = await this.client.environments.get("shop", "production");
    return Object.fromEntries(environment.split.map(({ version, weight }) => [version, weight]));
  }

  /** The hooks that control ordered, such as `v2 expand`, oldest first. */
  async hooks(): Promise<string[]> {
    const { items } = await this.client.installation.audit({ limit: HOOKS_READ });
    const ordered = items.filter(({ type, data }) => type === "release.progress" && data.hook !== undefined);
    return ordered.map(({ message, data }) => `${message.split(":")[0]} ${data.hook}`).reverse();
  }

  close(): Promise<void> {
    return this.#sluice.close();
  }
}

const manifestSchema = z.looseObject({
  env: z.record(z.string(), z.string()),
  environments: z.object({ production: z.looseObject({}) }),
});

/** The example's own manifest; what differs is where it runs, and how long people watch. */
async function shopManifest(
  { image, env, keep }: ShopOptions,
  step: Step,
  strategy: unknown,
): Promise<string> {
  const manifest = manifestSchema.parse(parse(await readFile(MANIFEST, "utf8")));
  const production = { ...manifest.environments.production, hostnames: [HOSTNAME], keep, strategy };
  return stringify({
    ...manifest,
    image: image(step),
    env: { ...manifest.env, ...env },
    drain: "1s",
    environments: { production },
  });
}
