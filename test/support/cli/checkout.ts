import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A git repository with a remote of its own, as a person or a CI job has it. Goes with its end of scope. */
export interface Checkout extends AsyncDisposable {
  readonly folder: string;
  git(...args: string[]): string;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  commit(message?: string): string;
}

export async function checkout(files: Readonly<Record<string, string>>, branch = "main"): Promise<Checkout> {
  const root = await mkdtemp(join(tmpdir(), "sluice-checkout-"));
  const [folder, remote] = [join(root, "work"), join(root, "remote.git")];
  const at = (cwd: string, ...args: string[]) =>
    execFileSync(
      "git",
      ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always", ...args],
      {
        cwd,
        env: { PATH: process.env.PATH, HOME: root },
        stdio: ["ignore", "pipe", "pipe"],
      },
    ).toString();
  await mkdir(folder);
  at(root, "init", "-q", "--bare", remote);
  at(folder, "init", "-q", "-b", branch);
  at(folder, "remote", "add", "origin", remote);
  const made: Checkout = {
    folder,
    git: (...args) => at(folder, ...args),
    async write(more) {
      for (const [name, text] of Object.entries(more)) {
        await mkdir(dirname(join(folder, name)), { recursive: true });
        await writeFile(join(folder, name), text);
      }
    },
    commit(message = "a change") {
      at(folder, "add", "-A");
      at(folder, "commit", "-q", "--allow-empty", "-m", message);
      return at(folder, "rev-parse", "HEAD").trim();
    },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
  await made.write(files);
  made.commit("first");
  at(folder, "push", "-q", "-u", "origin", branch);
  return made;
}
