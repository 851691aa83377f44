import { stat } from "node:fs/promises";
import path from "node:path";
import type { HostFactsReport } from "../../src/protocol/agent/host-facts.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import { failed, type Outcome, words } from "../outcome.ts";
import type { Standing } from "../runtime/docker/admission.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type PolicyFile, type PolicySource, readPolicy } from "./file.ts";
import { engineSocket, programPlaces } from "./own-places.ts";
import { type Ask, askOf, directoriesOf, neverAllowed, refusedBy } from "./rules.ts";

export interface PolicyOptions {
  /** Absent: this host has no rules of its own. */
  file: PolicySource | undefined;
  runtime: Runtime["name"];
  /** The agent's state, which no app may see. */
  directory: string;
  /** Where the engine keeps images and volumes; asked when a host directory is. Throws when the engine doesn't tell. */
  engineRoot?: () => Promise<string>;
}

/**
 * What this host lets control do. A control plane that was taken over can send any job; here, before any of it begins, it
 * meets rules that it can't change: those of the host's policy file, and those that hold on every host.
 */
export class Policy {
  readonly #options: PolicyOptions;
  readonly #own: string[];
  #read: { stamp: string; answer: Promise<PolicyFile> } | undefined;
  /** The last that could be gone by. */
  #good: PolicyFile | undefined;
  #engineRoot: string | undefined;

  constructor(options: PolicyOptions) {
    this.#options = options;
    const files = [options.directory, ...(options.file ? [options.file.file] : []), ...engineSocket()];
    this.#own = [...files.map((file) => path.resolve(file)), ...programPlaces()];
  }

  /** Why a job is refused; `undefined` when it may begin. `instances` are those the host has, by id. */
  async check(job: Job, instances: ReadonlySet<string>): Promise<Outcome<never> | undefined> {
    const ask = askOf(job);
    if (!ask) return undefined;
    const policy = await this.#policy();
    const others = instances.size - (ask.instance !== undefined && instances.has(ask.instance) ? 1 : 0);
    try {
      const why = await this.#refusal(policy, ask, others);
      return why === undefined ? undefined : failed("policy_refused", why);
    } catch (thrown) {
      return failed("runtime_unavailable", `${ask.what} can't be judged: ${words(thrown)}`);
    }
  }

  /**
   * Why a container that is there may not be started, first or again; `undefined` when it may. Asked right before the engine
   * is: rules and directories may be others than when it was made. While the file is broken, those before hold: what ran by
   * them is kept up.
   */
  async admits({ what, images, container }: Standing): Promise<string | undefined> {
    const now = await this.#policy();
    const policy = now.kind === "broken" ? (this.#good ?? now) : now;
    let why: string | undefined;
    for (const image of images) {
      why = await this.#refusal(policy, { what, kind: "start", image, container }, 0);
      if (why === undefined) return undefined;
    }
    return why;
  }

  /** The rules in short, for whoever looks at this host from afar. */
  async summary(): Promise<HostFactsReport["policy"]> {
    const { file } = this.#options;
    const policy = await this.#policy();
    if (!file || policy.kind === "none") return undefined;
    const { images, volumes } =
      policy.kind === "rules" ? policy.rules : { images: [], volumes: { named: false, directories: [] } };
    const short = (texts: readonly string[]) => texts.slice(0, 100).map((text) => text.slice(0, 300));
    return {
      file: file.file.slice(0, 500),
      images: short(images),
      volumes: short([...(volumes.named ? ["named volumes"] : []), ...volumes.directories]),
    };
  }

  async #refusal(policy: PolicyFile, ask: Ask, others: number): Promise<string | undefined> {
    const never = await neverAllowed(ask, await this.#closedTo(ask));
    if (never) return `no host runs this: ${never}`;
    if (policy.kind === "none") return this.#withoutFile(ask);
    if (policy.kind === "broken")
      return `this host's policy ${this.#file} can't be gone by, so it takes no job (what runs is left alone): ${policy.problem}`;
    const why = await refusedBy(policy.rules, ask, { runtime: this.#options.runtime, others });
    const next =
      "change the manifest, choose another host, or have the file on the host changed by whoever owns it";
    return why && `this host's policy ${this.#file} refuses ${ask.what}: ${why}; ${next}`;
  }

  #withoutFile({ container }: Ask): string | undefined {
    const [directory] = directoriesOf(container);
    return (
      directory &&
      `this host has no policy file, and without one no host directory is mounted: ${directory} would have to be listed in ${this.#file} (volumes.directories) by whoever owns the host`
    );
  }

  get #file(): string {
    return this.#options.file?.file ?? "a policy file";
  }

  /** The engine is asked where its data is only when that matters, and once. */
  async #closedTo({ container }: Ask): Promise<string[]> {
    const { engineRoot } = this.#options;
    if (!engineRoot || directoriesOf(container).length === 0) return this.#own;
    this.#engineRoot ??= await engineRoot();
    return [...this.#own, this.#engineRoot];
  }

  /** Read anew when the file is another than it was. */
  async #policy(): Promise<PolicyFile> {
    const { file } = this.#options;
    if (!file) return { kind: "none" };
    const stamp = await stampOf(file.file);
    if (this.#read?.stamp !== stamp) this.#read = { stamp, answer: readPolicy(file) };
    const policy = await this.#read.answer;
    if (policy.kind !== "broken") this.#good = policy;
    return policy;
  }
}

async function stampOf(file: string): Promise<string> {
  const dir = path.dirname(path.resolve(file));
  // Changed rights and owners count, too, and they leave the time of the last change of content as it is.
  const marks = [file, dir].map(async (place) => {
    const found = await stat(place).catch(() => undefined); // not there, or not for us: that is a mark, too
    return found ? `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}` : "none";
  });
  return (await Promise.all(marks)).join();
}
