import { createHash, createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { ImageRule, RegistryLogin } from "../../src/protocol/agent/image.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import { failed, type Outcome, words } from "../outcome.ts";
import { type ImageRef, parseImageRef } from "../runtime/image-ref.ts";
import type { Attached, Read } from "./attached.ts";

/** Remembered, newest last: a digest is what it is, and a registry that is away must not keep a known one from starting. */
const KEPT = 200;
/** A bundle is some kilobytes. */
const MAX_FILE_BYTES = 1 << 20;

interface Options {
  readonly journal: Journal;
  readonly log: Log;
  /** Directory of the host's trusted root, and of bundles that are in no registry. */
  readonly sigstore?: string | undefined;
  readonly now?: () => number;
}

interface Asked {
  /** Pinned by its digest. */
  readonly image: string;
  readonly rule: ImageRule | undefined;
  readonly login: RegistryLogin | undefined;
  progress(message: string): void;
}

/** An image whose registry can be asked, and what to ask it for. */
interface Known {
  readonly ref: Extract<ImageRef, { kind: "registry" }>;
  readonly digest: string;
  readonly login: RegistryLogin | undefined;
}

type KeyRule = Extract<ImageRule, { cosign: { key: string } }>;
type Keyless = Exclude<ImageRule, KeyRule>;

const isByKey = (rule: ImageRule): rule is KeyRule => "cosign" in rule && "key" in rule.cosign;

/** The rule of an app about who must have signed its images. Asked before anything of an image runs. */
export class Signatures {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Why an image may not run; `undefined` when it may. Whatever keeps it from being known is a reason, too. */
  async refuse({ image, rule, login, progress }: Asked): Promise<Outcome<never> | undefined> {
    if (!rule) return undefined;
    const why = await this.#unsigned({ image, rule, login, progress });
    if (why === undefined) return undefined;
    const wanted = "attestation" in rule ? "verify.attestation" : "verify.cosign";
    const said = `image ${image} is not signed as the manifest's ${wanted} wants it: ${why}`;
    if (rule.mode === "enforce") return failed("signature_refused", said);
    this.#options.log.warn("an image runs that is not signed as it should be", { image, why });
    progress(`${said} (verify.mode is warn: it runs all the same)`);
    return undefined;
  }

  async #unsigned({
    image,
    rule,
    login,
    progress,
  }: Asked & { rule: ImageRule }): Promise<string | undefined> {
    const ref = parseImageRef(image);
    if (ref?.kind !== "registry" || ref.digest === undefined)
      return "it comes from no registry that could have its signature";
    const known = { ref, digest: ref.digest, login };
    try {
      return isByKey(rule)
        ? await this.#once(image, rule.cosign, () => {
            progress(`checking who signed ${image}`);
            return unsignedByKey(rule, known);
          })
        : await this.#keyless(image, rule, known, progress);
    } catch (thrown) {
      return `it can't be told: ${words(thrown)}`;
    }
  }

  /** Only hosts with such a rule pay for the library. Another trusted root is another question. */
  async #keyless(image: string, rule: Keyless, known: Known, progress: Asked["progress"]) {
    const { sigstore, now = Date.now } = this.#options;
    if (sigstore === undefined) return "this agent has no directory with a trusted root";
    const { readRoots } = await import("./roots.ts");
    const { roots, stamp } = await readRoots(sigstore);
    const { mode: _, ...meant } = rule;
    return this.#once(image, { ...meant, stamp }, async () => {
      progress(`checking who signed ${image}`);
      const { keylessProblem } = await import("./sigstore.ts");
      const judge = (one: Attached) => keylessProblem(one, { rule, digest: known.digest, roots, now: now() });
      return firstThatHolds(judge, [
        () => bundlesOnHost(sigstore, known.digest),
        async () => (await import("./attached.ts")).attachedBundles(known.digest, await readerOf(known)),
        async () => ("cosign" in rule ? legacyBundles(known) : []),
      ]);
    });
  }

  /** What held once is remembered by all that was asked. */
  async #once(image: string, asked: object, judge: () => Promise<string | undefined>) {
    const { journal } = this.#options;
    const key = createHash("sha256")
      .update(`${image}\n${JSON.stringify(asked)}`)
      .digest("hex");
    if (journal.state.verified.includes(key)) return undefined;
    const why = await judge();
    if (why === undefined)
      await journal.update((state) => {
        state.verified = [...state.verified, key].slice(-KEPT);
      });
    return why;
  }
}

/** Of several signatures one must hold. A place that can't be asked is a reason only if no other has one. */
async function firstThatHolds(
  judge: (one: Attached) => string | undefined,
  places: readonly (() => Promise<Attached[]>)[],
): Promise<string | undefined> {
  let why: string | undefined;
  let broken: unknown;
  for (const place of places) {
    const found = await place().catch((thrown: unknown) => {
      broken ??= thrown;
      return [];
    });
    for (const one of found) {
      const problem = judge(one);
      if (problem === undefined) return undefined;
      why ??= problem;
    }
  }
  if (why === undefined && broken !== undefined) throw broken;
  return why ?? "it has no signature";
}

async function readerOf({ ref, login }: Known): Promise<Read> {
  const { repositoryReader } = await import("./registry.ts");
  return repositoryReader(ref, login);
}

async function unsignedByKey({ cosign: { key } }: KeyRule, known: Known): Promise<string | undefined> {
  const pem = createPublicKey(key);
  const read = await readerOf(known);
  const { attachedBundles, signatureLayers } = await import("./attached.ts");
  const { keyProblem } = await import("./cosign.ts");
  let why: string | undefined;
  for (const layer of await signatureLayers(known.digest, read)) {
    const problem = keyProblem(layer, pem, known.digest);
    if (problem === undefined) return undefined;
    why ??= problem;
  }
  const attached = await attachedBundles(known.digest, read);
  if (attached.length === 0) return why ?? "it has no signature";
  const { bundleKeyProblem } = await import("./sigstore.ts");
  const other = await firstThatHolds(
    (one) => bundleKeyProblem(one, pem, known.digest),
    [async () => attached],
  );
  return other && (why ?? other);
}

/** Keyless signatures as cosign 2 keeps them. */
async function legacyBundles(known: Known): Promise<Attached[]> {
  const { signatureLayers } = await import("./attached.ts");
  const { asBundle } = await import("./cosign.ts");
  const layers = await signatureLayers(known.digest, await readerOf(known));
  return layers.flatMap((layer) => asBundle(layer) ?? []);
}

/** For a host that reaches no registry but a mirror: `<directory>/sha256-<hex>.json`, or `.jsonl` with a bundle a line. */
async function bundlesOnHost(directory: string, digest: string): Promise<Attached[]> {
  const { jsonOf } = await import("./attached.ts");
  const texts = await Promise.all(
    ["json", "jsonl"].map((ending) => textOf(path.join(directory, `${digest.replace(":", "-")}.${ending}`))),
  );
  return texts.flatMap((text) => {
    const whole = jsonOf(Buffer.from(text));
    if (whole !== undefined) return [{ bundle: whole }];
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    return lines.map((line) => ({ bundle: jsonOf(Buffer.from(line)) }));
  });
}

async function textOf(file: string): Promise<string> {
  try {
    const bytes = await readFile(file);
    if (bytes.length > MAX_FILE_BYTES) throw new Error(`${file} has more than ${MAX_FILE_BYTES} bytes`);
    return bytes.toString("utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return "";
    throw thrown;
  }
}
