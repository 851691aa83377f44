import { Option } from "commander";
import { isProblem } from "../../src/client/index.ts";
import {
  type CreateRelease,
  imageSchema,
  type ReleaseView,
  versionSchema,
} from "../../src/protocol/api/releases.ts";
import { EXIT } from "../exit-codes.ts";
import { waitAndTell } from "../follow/ending.ts";
import { type Wait, waitOption } from "../follow/wait.ts";
import { exitTable } from "../help.ts";
import { gitFacts } from "../io/git.ts";
import { idempotencyKey } from "../io/idempotency.ts";
import { wholeText } from "../io/manifest-file.ts";
import { clean, plural } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session, Target } from "../session.ts";
import { examples, type Register, timeoutOption } from "../verb.ts";
import { applyText } from "./apply.ts";

export interface ReleaseOptions {
  readonly image?: string;
  readonly version?: string;
  readonly whenBusy: "queue" | "reject" | "supersede";
  readonly hold?: boolean;
  readonly override?: boolean | string;
}
interface DeployOptions extends ReleaseOptions {
  readonly current?: boolean;
  readonly detach?: boolean;
  readonly apply?: boolean;
  readonly timeout: number;
  readonly wait: Wait;
}

export const whenBusyOption = () =>
  new Option("--when-busy <policy>", "if another release is in progress: wait, refuse, or replace it")
    .choices(["queue", "reject", "supersede"])
    .default("queue");

export const holdOption = () => new Option("--hold", "prepare it, and keep it at 0 % until it is promoted");
export const overrideOption = () =>
  new Option("--override [reason]", "begin outside the deploy windows; audited, with the reason");

export const deploy: Register = (program, act) => {
  program
    .command("deploy")
    .description("release an image and wait until it serves all traffic, or is taken back")
    .option("--image <ref>", "what to release (default: the manifest's image)")
    .option("--current", "the image that serves, with the manifest and the secrets of today")
    .option("--version <label>", "a label for people (default: v<n>)")
    .addOption(whenBusyOption())
    .addOption(holdOption())
    .addOption(overrideOption())
    .option("--apply", "apply the manifest first")
    .option("--detach", "don't wait: print the release and leave")
    .addOption(waitOption())
    .addOption(timeoutOption())
    .addHelpText(
      "before",
      examples(
        "sluice deploy --image ghcr.io/acme/shop@sha256:…",
        "sluice deploy --image ghcr.io/acme/shop:1.4.2 --version 1.4.2 -e staging",
        "sluice deploy --current                            # a changed secret or variable, as a release",
        "sluice deploy --image … --json > release.json      # in CI",
        "sluice deploy --image … --wait=approval            # a later job promotes it",
      ),
    )
    .addHelpText("after", exitTable())
    .action(act(run));
};

async function run(session: Session, options: DeployOptions): Promise<Outcome> {
  const target = session.target();
  await matchManifest(session, target, options.apply === true);
  const asked = options.current ? { ...options, ...(await ofCurrent(session, target, options)) } : options;
  const body = await releaseBody(session, asked);
  const key = idempotencyKey(session.env, { ...target, body });
  const created = await createRelease(session, { ...target, idempotencyKey: key }, body);
  sayCreated(session, created);
  const { release } = created;
  const { out } = session;
  if (options.detach) {
    const json = { command: "deploy", outcome: "started", exitCode: EXIT.ok, release };
    return { exit: EXIT.ok, json, text: out.stdoutIsTty ? undefined : release.id };
  }
  const { timeout: timeoutMs, wait } = options;
  return waitAndTell(session, release, { command: "deploy", timeoutMs, wait });
}

/**
 * The very image that serves: what changes is how it is run. It waits for no other release, whose image it would take back when its
 * turn came.
 */
async function ofCurrent(
  session: Session,
  at: Target,
  { image, whenBusy }: ReleaseOptions,
): Promise<Pick<ReleaseOptions, "image" | "whenBusy">> {
  if (image !== undefined) throw new CliError("usage", "--current and --image: one image at a time");
  const { environment } = await session.client.environments.get(at.app, at.environment);
  const { live, active, queued } = environment;
  if (!live)
    throw new CliError("not_found", `nothing serves in ${at.app}/${at.environment} yet`, {
      next: [{ command: session.command("deploy", at), when: "to release the manifest's image" }],
    });
  if (whenBusy === "supersede") return { image: imageOf(live), whenBusy };
  const [other = active] = queued;
  if (!other) return { image: imageOf(live), whenBusy: "reject" };
  throw new CliError(
    "release_in_progress",
    `${other.version} comes first: what serves after it is not known yet`,
    {
      next: [
        { command: session.command("watch", at), when: "to wait for it" },
        { command: session.carry("sluice deploy --current"), when: "it has ended" },
      ],
    },
  );
}

function imageOf(live: ReleaseView): string {
  if (live.digest === null || live.image.startsWith("file:")) return live.image;
  return `${live.image.replace(/@.*$/, "").replace(/:[^/:]+$/, "")}@${live.digest}`;
}

interface Created {
  readonly release: ReleaseView;
  /** Another run made it, with the same key. */
  readonly isEarlier: boolean;
}

/** Interrupted while control hasn't answered, nobody here knows whether it has begun: that is said, with the way to see. */
export async function createRelease(
  session: Session,
  at: Target & { idempotencyKey: string },
  body: CreateRelease,
): Promise<Created> {
  try {
    return await session.client.releases.createOrFind(at, body);
  } catch (error) {
    if (!session.signal.aborted) throw error;
    throw new CliError("interrupted", "control had not answered yet: the release may have begun", {
      next: [{ command: session.command("watch", at), when: "to see" }],
    });
  }
}

/** Which release it is, and how to follow it. */
export function sayCreated(session: Session, { release, isEarlier }: Created, from = ""): void {
  const earlier = isEarlier ? ": an earlier run began it" : "";
  session.out.say(
    `${release.app}/${release.environment} ${clean(release.version)}  ${clean(release.image)}${from}${earlier}`,
  );
  session.out.say(`watch  ${session.command(`watch ${release.id}`)}`);
}

/** What a release is asked to be: the flags, and what git knows. */
export async function releaseBody(session: Session, options: ReleaseOptions): Promise<CreateRelease> {
  refuse("--image", options.image, imageSchema);
  refuse("--version", options.version, versionSchema);
  const git = await gitFacts(session.cwd, session.env);
  const image = options.image ?? imageFromOutside(session);
  return {
    ...(image === undefined ? {} : { image }),
    ...(options.version === undefined ? {} : { version: options.version }),
    ...(git ? { git } : {}),
    whenBusy: options.whenBusy,
    ...(options.hold ? { hold: true } : {}),
    ...(options.override ? { override: options.override } : {}),
  };
}

/** Said of the flag, before a label or a lock is used up. */
function refuse(
  flag: string,
  value: string | undefined,
  schema: typeof imageSchema | typeof versionSchema,
): void {
  const parsed = schema.safeParse(value ?? "");
  if (value === undefined || parsed.success) return;
  throw new CliError(
    "usage",
    `${flag} ${clean(value)}: it ${parsed.error.issues[0]?.message ?? "is not valid"}`,
  );
}

/** What is applied has the image of another day: the file's own is filled in anew. */
function imageFromOutside(session: Session): string | undefined {
  const { manifest } = session.target();
  if (!manifest?.takesImage) return undefined;
  wholeText(manifest);
  return manifest.manifest.image;
}

/** A deploy uses what is applied. When the file on disk says something else, that is said, or applied if asked for. */
async function matchManifest(session: Session, target: Target, apply: boolean): Promise<void> {
  const { manifest } = target;
  if (!manifest) {
    if (apply) throw new CliError("no_manifest", "--apply needs a manifest: name it with -f");
    return;
  }
  if (apply) {
    const answer = await session.client.apps.apply(target.app, wholeText(manifest));
    session.out.say(applyText(answer, manifest.path));
    return;
  }
  const answer = await dryRun(session, target.app, wholeText(manifest));
  const again = session.carry("sluice deploy --apply");
  if (answer?.created)
    throw new CliError("not_found", `the control plane doesn't know ${target.app} yet`, {
      title: "not applied",
      next: [{ command: again, when: `to create it from ${manifest.path} and release` }],
    });
  if (answer && answer.changes.length > 0)
    session.out.say(
      `${manifest.path} differs from what is applied (${plural(answer.changes.length, "change")}), ` +
        `and this deploy uses what is applied. To apply it too: ${again}`,
    );
}

/** A deployer's token may not be allowed to look; the release itself doesn't need it. */
async function dryRun(session: Session, app: string, text: string) {
  try {
    return await session.client.apps.apply(app, text, { dryRun: true });
  } catch (error) {
    if (isProblem(error, "forbidden")) return undefined;
    throw error;
  }
}
