import { createHash } from "node:crypto";
import type { ImageRule, RegistryLogin } from "../../src/protocol/agent/image.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import { failed, type Outcome, words } from "../outcome.ts";
import { parseImageRef } from "../runtime/image-ref.ts";

/** Remembered, newest last: a digest is what it is, and a registry that is away must not keep a known one from starting. */
const KEPT = 200;

interface Asked {
  /** Pinned by its digest. */
  readonly image: string;
  readonly rule: ImageRule | undefined;
  readonly login: RegistryLogin | undefined;
  progress(message: string): void;
}

/** The rule of an app about who must have signed its images. Asked before anything of an image runs. */
export class Signatures {
  readonly #journal: Journal;
  readonly #log: Log;

  constructor({ journal, log }: { journal: Journal; log: Log }) {
    this.#journal = journal;
    this.#log = log;
  }

  /** Why an image may not run; `undefined` when it may. Whatever keeps it from being known is a reason, too. */
  async refuse({ image, rule, login, progress }: Asked): Promise<Outcome<never> | undefined> {
    if (!rule) return undefined;
    const key = createHash("sha256").update(`${image}\n${rule.cosign.key}`).digest("hex");
    if (this.#journal.state.verified.includes(key)) return undefined;
    progress(`checking who signed ${image}`);
    const why = await whyUnsigned(image, rule, login);
    if (why === undefined) {
      await this.#journal.update((state) => {
        state.verified = [...state.verified, key].slice(-KEPT);
      });
      return undefined;
    }
    const said = `image ${image} is not signed as the manifest's verify.cosign wants it: ${why}`;
    if (rule.mode === "enforce") return failed("signature_refused", said);
    this.#log.warn("an image runs that is not signed as it should be", { image, why });
    progress(`${said} (verify.mode is warn: it runs all the same)`);
    return undefined;
  }
}

async function whyUnsigned(image: string, rule: ImageRule, login: RegistryLogin | undefined) {
  const ref = parseImageRef(image);
  if (ref?.kind !== "registry" || ref.digest === undefined)
    return "it comes from no registry that could have its signature";
  try {
    // Only hosts with such a rule pay for it.
    const { repositoryReader } = await import("./registry.ts");
    const { unsignedBy } = await import("./cosign.ts");
    return await unsignedBy(rule.cosign.key, ref.digest, repositoryReader(ref, login));
  } catch (thrown) {
    return `it can't be told: ${words(thrown)}`;
  }
}
