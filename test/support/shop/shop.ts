import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Engine } from "../../../agent/runtime/docker/engine.ts";
import { bundle } from "../../../examples/shop/build.ts";
import { baseImage, build, variantImage } from "../../../local/images.ts";
import { freePort } from "../engine/docker.ts";

export type Step = 1 | 2 | 3;
export type Phase = "expand" | "contract";

const SHOP = path.resolve(import.meta.dirname, "../../../examples/shop");
const STARTED_WITHIN_MS = 20_000;

/** Bundles the shop into `<root>/step-<n>`, which the process runtime runs as `file:step-<n>`. */
export async function shopDirectory(root: string, step: Step): Promise<string> {
  const directory = path.join(root, `step-${step}`);
  await bundle(directory, step);
  return directory;
}

export interface ShopImage {
  tag: string;
  step: Step;
  /** Variables baked into the image. */
  env?: Record<string, string>;
}

/**
 * Builds the runtime stage of the shop's own Dockerfile and answers the image's id. The stage before it needs npm and a
 * registry; what it would leave behind is bundled here.
 */
export async function shopImage(engine: Engine, { tag, step, env = {} }: ShopImage): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-shop-"));
  try {
    await bundle(path.join(directory, "dist"), step);
    const dockerfile = await readFile(path.join(SHOP, "Dockerfile"), "utf8");
    await writeFile(path.join(directory, "Dockerfile"), runtimeStage(dockerfile));
    const plain = `sluice-shop:step-${step}`;
    await build(engine, { directory, tag: plain, args: { BASE: await baseImage(engine) } });
    return await variantImage(engine, { from: plain, tag, env });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function runtimeStage(dockerfile: string): string {
  const stage = dockerfile.slice(dockerfile.lastIndexOf("FROM "));
  const copy = "COPY --from=build /build/dist ";
  if (!stage.includes(copy)) throw new Error(`the Dockerfile's last stage has no \`${copy}\``);
  return `ARG BASE\n${stage.replace(copy, "COPY dist ")}`;
}

export interface Shop {
  url: string;
  /** All it wrote so far. */
  output(): string;
  /** Resolves when it wrote these words. */
  said(words: string): Promise<void>;
  /** Sends SIGTERM; the exit code. */
  stop(): Promise<number | null>;
}

/** Starts a bundled shop on a free port, as the process runtime would. */
export async function startShop(directory: string, env: Record<string, string>): Promise<Shop> {
  const port = await freePort();
  const child = spawn(process.execPath, ["main.js"], {
    cwd: directory,
    env: { ...env, PORT: String(port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kill = () => void child.kill("SIGKILL");
  // A test run that is cut short leaves nothing behind.
  process.once("exit", kill);
  let output = "";
  const exit = once(child, "exit").finally(() => process.off("exit", kill));
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const said = async (words: string) => {
    const signal = AbortSignal.timeout(STARTED_WITHIN_MS);
    while (!output.includes(words)) {
      const more = Promise.race([
        once(child.stdout, "data", { signal }),
        once(child.stderr, "data", { signal }),
        exit,
      ]);
      await more;
      if (child.exitCode !== null) throw new Error(`the shop ended with ${child.exitCode}:\n${output}`);
    }
  };
  await said("listens on");
  return {
    url: `http://127.0.0.1:${port}`,
    output: () => output,
    said,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await exit;
      return child.exitCode;
    },
  };
}

interface Migrated {
  code: number | null;
  output: string;
}

export interface RunningMigration {
  ended: Promise<Migrated>;
  kill(): void;
}

/** Runs a hook of a bundled shop. */
export function startMigration(
  directory: string,
  phase: Phase,
  env: Record<string, string>,
): RunningMigration {
  const child = spawn(process.execPath, ["migrate.js", phase], { cwd: directory, env });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const ended = once(child, "close").then(() => ({ code: child.exitCode, output }));
  return { ended, kill: () => void child.kill("SIGKILL") };
}
