import { stat } from "node:fs/promises";
import path from "node:path";
import type { HostFactsReport, Job } from "../../src/protocol/agent.ts";
import { failed, type Outcome } from "../outcome.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type PolicyFile, type PolicySource, readPolicy } from "./file.ts";
import { type Ask, askOf, neverAllowed, refusedBy } from "./rules.ts";

export interface PolicyOptions {
  /** Absent: this host has no rules of its own. */
  file: PolicySource | undefined;
  runtime: Runtime["name"];
  /** The agent's state, which no app may see. */
  directory: string;
}

/**
 * What this host lets control do. A control plane that was taken over can send any job; here, before any of it begins, it
 * meets rules that it can't change: those of the host's policy file, and those that hold on every host.
 */
export class Policy {
  readonly #options: PolicyOptions;
  readonly #own: string[];
  #read: { stamp: string; answer: Promise<PolicyFile> } | undefined;

  constructor(options: PolicyOptions) {
    this.#options = options;
    const socket = (process.env.DOCKER_HOST || "unix:///var/run/docker.sock").replace(/^unix:\/\//, "");
    const files = [options.directory, options.file?.file, socket.startsWith("/") ? socket : undefined];
    this.#own = files.filter((file) => file !== undefined).map((file) => path.resolve(file));
  }

  /** Why a job is refused; `undefined` when it may begin. `instances` are those the host has, by id. */
  async check(job: Job, instances: ReadonlySet<string>): Promise<Outcome<never> | undefined> {
    const ask = askOf(job);
    if (!ask) return undefined;
    const never = await neverAllowed(ask, this.#own);
    if (never) return failed("policy_refused", `no host runs this: ${never}`);
    const { file } = this.#options;
    const policy = await this.#policy();
    if (!file || policy.kind === "none") return undefined;
    if (policy.kind === "broken") {
      return failed(
        "policy_refused",
        `this host's policy ${file.file} can't be gone by, so it takes no job (what runs is left alone): ${policy.problem}`,
      );
    }
    const others = instances.size - (ask.instance !== undefined && instances.has(ask.instance) ? 1 : 0);
    const why = await refusedBy(policy.rules, ask, { runtime: this.#options.runtime, others });
    return why === undefined ? undefined : this.#refused(ask, why, file.file);
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

  #refused({ what }: Ask, why: string, file: string): Outcome<never> {
    const next =
      "change the manifest, choose another host, or have the file on the host changed by whoever owns it";
    return failed("policy_refused", `this host's policy ${file} refuses ${what}: ${why}; ${next}`);
  }

  /** Read anew when the file is another than it was. */
  async #policy(): Promise<PolicyFile> {
    const { file } = this.#options;
    if (!file) return { kind: "none" };
    const stamp = await stampOf(file.file);
    if (this.#read?.stamp !== stamp) this.#read = { stamp, answer: readPolicy(file) };
    return this.#read.answer;
  }
}

async function stampOf(file: string): Promise<string> {
  const dir = path.dirname(path.resolve(file));
  // Changed rights and owners count, too, and they leave the time of the last change of content as it is.
  const marks = [file, dir].map(async (place) => {
    const { ino, size, mtimeMs, ctimeMs } = await stat(place);
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  });
  return Promise.all(marks).then(
    (found) => found.join(),
    (thrown) => `none: ${thrown}`,
  );
}
