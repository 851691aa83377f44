import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { ApiError } from "../../../src/client/index.ts";
import {
  type OpenedPreview,
  type OpenPreview,
  type PullPreview,
  pullNumberSchema,
} from "../../../src/protocol/api/previews/pulls.ts";
import { imageSchema } from "../../../src/protocol/api/releases.ts";
import { EXIT } from "../../exit-codes.ts";
import { waitAndTell } from "../../follow/ending.ts";
import { gitFacts } from "../../io/git.ts";
import { idempotencyKey } from "../../io/idempotency.ts";
import { ago, clean, table, until } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import { pullRequestIn } from "../../io/pull-request.ts";
import type { Outcome, Session } from "../../session.ts";
import { type Act, timeoutOption, urlFromHere } from "../../verb.ts";

interface UpOptions {
  readonly pr?: number;
  readonly image: string;
  readonly detach?: boolean;
  readonly timeout: number;
}

/** How long an older one that is being taken down is waited for. */
const ENDING_MS = 300_000;

const numberOption = () =>
  new Option("--pr <number>", "the pull request (default: the one that this CI job runs for)").argParser(
    (text) => {
      const number = pullNumberSchema.safeParse(text);
      if (number.success) return Number(number.data);
      throw new InvalidArgumentError("It must be a pull request's number, such as 12.");
    },
  );

/** `sluice preview up|down|list`: an environment for a pull request, which goes with it. */
export function pullVerbs(group: Command, act: Act): void {
  group
    .command("up")
    .description(
      "open a pull request's preview, or renew it, and wait until it serves; the image was pushed before",
    )
    .addOption(numberOption())
    .requiredOption("--image <ref>", "what to run there")
    .option("--detach", "don't wait: print the release and leave")
    .addOption(timeoutOption())
    .action(act(up));
  group
    .command("down")
    .description("take a pull request's preview down; one that is not there is fine")
    .addOption(numberOption())
    .action(act(down));
  group.command("list").description("previews of an app, and how long each stays").action(act(list));
}

async function up(session: Session, options: UpOptions): Promise<Outcome> {
  const parsed = imageSchema.safeParse(options.image);
  if (!parsed.success)
    throw new CliError(
      "usage",
      `--image ${clean(options.image)}: it ${parsed.error.issues[0]?.message ?? "is not valid"}`,
    );
  const app = session.app();
  const body = await bodyOf(session, options);
  const key = idempotencyKey(session.env, { app, environment: `pr-${body.number}`, body });
  const { preview, release } = await whenGone(session, () =>
    session.client.previews.open({ app, idempotencyKey: key }, body),
  );
  const { out } = session;
  out.say(`${app}/${preview.environment} ${release.version}  ${clean(release.image)}`);
  out.say(
    `url    ${clean(urlFromHere(session, preview.url))}, ends ${until(preview.expiresAt, session.now())}`,
  );
  out.say(`watch  ${session.command(`watch ${release.id}`)}`);
  const command = "preview up";
  if (options.detach) {
    const json = { command, outcome: "started", exitCode: EXIT.ok, release, preview };
    return { exit: EXIT.ok, json, text: out.stdoutIsTty ? undefined : release.id };
  }
  const told = await waitAndTell(session, release, { command, timeoutMs: options.timeout });
  return { ...told, json: { ...told.json, preview } };
}

async function bodyOf(session: Session, { pr, image }: UpOptions): Promise<OpenPreview> {
  const job = pullRequestIn(session.env);
  const number = numberOf(session, pr);
  // What is named by hand may be another one than the job's.
  const pull = job?.number === number ? job : undefined;
  const found = await gitFacts(session.cwd, session.env);
  const sha = pull?.sha ?? found?.sha;
  const branch = pull?.branch ?? found?.branch;
  const git = sha === undefined ? undefined : { ...found, sha, ...(branch === undefined ? {} : { branch }) };
  return {
    number,
    image,
    ...(git ? { git } : {}),
    ...(pull?.url === undefined ? {} : { url: pull.url }),
    ...(pull?.run === undefined ? {} : { run: pull.run }),
    ...(pull?.fork ? { fork: true } : {}),
  };
}

/** One that was closed a moment ago has to be gone before it is made anew. */
async function whenGone(session: Session, ask: () => Promise<OpenedPreview>): Promise<OpenedPreview> {
  const giveUpAt = session.now() + ENDING_MS;
  for (let isTold = false; ; isTold = true) {
    try {
      return await ask();
    } catch (error) {
      const isGoing = error instanceof ApiError && error.problem.code === "conflict";
      if (!isGoing || error.retryAfterMs === undefined || session.now() >= giveUpAt) throw error;
      if (!isTold) session.out.say("the one before is still being taken down: waiting for that");
      await sleep(error.retryAfterMs, undefined, { signal: session.signal });
    }
  }
}

async function down(session: Session, options: { pr?: number }): Promise<Outcome> {
  const app = session.app();
  const number = numberOf(session, options.pr);
  const job = pullRequestIn(session.env);
  const run = job?.number === number ? job.run : undefined;
  const { ending } = await session.client.previews.close({ app, number, run });
  const name = `${app}/pr-${number}`;
  const waits = ending?.waitsFor.length ? `; it waits for ${ending.waitsFor.map(clean).join(", ")}` : "";
  session.out.say(ending ? `${name} is on its way out${waits}` : `${name} is not there (any more)`);
  return { exit: EXIT.ok, json: { command: "preview down", exitCode: EXIT.ok, number, ending } };
}

async function list(session: Session): Promise<Outcome> {
  const app = session.app();
  const items = await session.client.previews.list(app);
  const now = session.now();
  const rows = items.map((item) => [
    String(item.number),
    item.state,
    urlFromHere(session, item.url),
    ends(item, now),
    item.git.branch ?? "-",
    item.git.sha?.slice(0, 10) ?? "-",
    ago(item.createdAt, now),
  ]);
  const head = ["PR", "STATE", "URL", "ENDS", "BRANCH", "COMMIT", "SINCE"];
  const text =
    rows.length > 0 ? table([head, ...rows.map((row) => row.map(clean))]) : `no previews of ${app}`;
  return { exit: EXIT.ok, json: { items }, text };
}

const ends = ({ state, expiresAt }: PullPreview, now: number) =>
  state === "down" ? "now" : until(expiresAt, now);

function numberOf(session: Session, named: number | undefined): number {
  const number = named ?? pullRequestIn(session.env)?.number;
  if (number !== undefined) return number;
  throw new CliError("usage", "this is no pull request's CI job: name its number with --pr", {
    title: "which pull request?",
  });
}
