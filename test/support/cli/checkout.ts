import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

/** A git repository with a remote of its own, as a person or a CI job has it. Goes with its end of scope. */
export interface Checkout extends AsyncDisposable {
  readonly folder: string;
  git(...args: string[]): string;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  commit(message?: string): string;
}

type At = (cwd: string, ...args: string[]) => string;

export async function checkout(files: Readonly<Record<string, string>>, branch = "main"): Promise<Checkout> {
  const root = await mkdtemp(join(tmpdir(), "sluice-checkout-"));
  const folder = join(root, "work");
  const at: At = (cwd, ...args) =>
    execFileSync(
      "git",
      ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always", ...args],
      {
        cwd,
        env: { PATH: process.env.PATH, HOME: root },
        stdio: ["ignore", "pipe", "pipe"],
      },
    ).toString();
  await copyOf(JSON.stringify([files, branch]), root, () => begin(at, root, files, branch));
  return {
    folder,
    git: (...args) => at(folder, ...args),
    write: (more) => write(folder, more),
    commit(message = "a change") {
      at(folder, "add", "-A");
      at(folder, "commit", "-q", "--allow-empty", "-m", message);
      return at(folder, "rev-parse", "HEAD").trim();
    },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

async function begin(at: At, root: string, files: Readonly<Record<string, string>>, branch: string) {
  const folder = join(root, "work");
  await mkdir(folder);
  at(root, "init", "-q", "--template=", "--bare", "remote.git");
  at(folder, "init", "-q", "--template=", "-b", branch);
  at(folder, "remote", "add", "origin", "../remote.git");
  await write(folder, files);
  at(folder, "add", "-A");
  at(folder, "commit", "-q", "--allow-empty", "-m", "first");
  at(folder, "push", "-q", "-u", "origin", branch);
}

async function write(folder: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}

/** The files of repositories that were made once, each by what it was made of: git starts a dozen processes for one. */
const made = new Map<string, Promise<ReadonlyMap<string, Buffer>>>();

async function copyOf(key: string, folder: string, make: () => Promise<void>): Promise<void> {
  const earlier = made.get(key);
  if (earlier) return write(folder, Object.fromEntries(await earlier));
  const making = make().then(() => filesIn(folder));
  made.set(key, making);
  await making;
}

async function filesIn(folder: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  const read = async (path: string) => [relative(folder, path), await readFile(path)] as const;
  return new Map(await Promise.all(paths.map(read)));
}
