import { createHash } from "node:crypto";
import { ApiError, isProblem } from "../../src/client/index.ts";
import type { CreateRelease, ReleaseView } from "../../src/protocol/api/releases.ts";
import { applyText } from "../commands/apply.ts";
import { createRelease } from "../commands/deploy.ts";
import { rollBack } from "../commands/rollback.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { isDone, isServing } from "../follow/progress.ts";
import { isRestored } from "../follow/release-end.ts";
import { type ManifestFile, wholeText } from "../io/manifest-file.ts";
import { clean } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Session, Target } from "../session.ts";

/** What is to be released is released: made now, on its way since an earlier run, or serving already. */
export interface Begun {
  readonly release: ReleaseView;
  readonly how: "made" | "joined" | "serving";
}

/** Makes control know the manifest. */
export async function applyFirst(session: Session, manifest: ManifestFile): Promise<void> {
  try {
    const answer = await session.client.apps.apply(manifest.manifest.app, wholeText(manifest));
    if (answer.created || answer.changes.length > 0) session.out.say(applyText(answer, manifest.path));
  } catch (error) {
    if (!isProblem(error, "forbidden")) throw error;
    throw new CliError(
      "forbidden",
      `${(error as ApiError).problem.detail}: this token may not apply ${manifest.path}`,
      {
        next: [
          {
            command: session.carry("sluice ship --no-apply"),
            when: "what is applied already is meant",
          },
        ],
      },
    );
  }
}

/** Each attempt at the same thing asks with the key of the one before it, so that two runs at once are one release. */
const ATTEMPTS = 20;

/**
 * Begins the release, or finds the one that an earlier run of the same commit began: same image, same manifest. One that
 * failed or was taken back is tried again.
 */
export async function beginRelease(
  session: Session,
  target: Target & { readonly manifest: ManifestFile },
  body: CreateRelease,
): Promise<Begun> {
  const { app, environment } = target;
  const facts = [app, environment, body, wholeText(target.manifest)];
  let attempt = "";
  for (let nth = 0; nth < ATTEMPTS; nth++) {
    const hash = createHash("sha256")
      .update(JSON.stringify([...facts, attempt]))
      .digest("hex");
    const key = { app, environment, idempotencyKey: `ship-${hash.slice(0, 40)}` };
    const created = await createRelease(session, key, body);
    // An answer that is given again is the one of then.
    const release = await session.client.releases.get(created.release.id);
    // Superseded ones have no weight: what has all of it serves, whatever is being cleaned up behind it.
    if (isServing(release.state) && release.weight === 100) return { release, how: "serving" };
    // What this run began is its own, however soon it failed.
    if (!created.isEarlier) return { release, how: "made" };
    if (!isDone(release)) return { release, how: "joined" };
    attempt = release.id;
  }
  throw new CliError("state_changed", `this was released ${ATTEMPTS} times, and taken back each time`, {
    next: [{ command: session.command("releases", target), when: "to see why" }],
  });
}

/** Puts back what a smoke test found wrong. 3 only with proof that the traffic is back, else 4. */
export async function takeBack(
  session: Session,
  target: Target,
  { release, timeoutMs }: { release: ReleaseView; timeoutMs: number },
): Promise<ExitCode> {
  const { out } = session;
  try {
    await rollBack(session, target, { from: release.id, timeout: timeoutMs });
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof CliError)) throw error;
    out.say(`${clean(release.version)} was not rolled back: ${clean(error.message)}`);
  }
  const { environment } = await session.client.environments.get(target.app, target.environment);
  return isRestored(release, environment) ? EXIT.restored : EXIT.notRestored;
}
