import { type Command, Option } from "commander";
import { PROVIDERS, type TrustView } from "../../../src/protocol/api/trusts.ts";
import { EXIT } from "../../exit-codes.ts";
import { confirm } from "../../io/confirm.ts";
import { ago, clean, table } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import { readStdin } from "../../io/read-value.ts";
import type { Outcome, Session } from "../../session.ts";
import { examplesOfEach, type Register } from "../../verb.ts";

/** The flag of each id, and the claim that it is. */
const IDS = {
  repositoryId: "repository_id",
  ownerId: "repository_owner_id",
  projectId: "project_id",
  namespaceId: "namespace_id",
  organizationId: "organization_id",
  pipelineId: "pipeline_id",
} as const;

interface AddOptions extends Partial<Record<keyof typeof IDS, string>> {
  readonly ref: readonly string[];
  readonly event: readonly string[];
  readonly claim: readonly string[];
  readonly issuer?: string;
  readonly pinOnFirstUse?: boolean;
  readonly byName?: boolean;
  readonly role: "deployer" | "approver" | "viewer";
  readonly action: "deploy" | "preview" | "any";
}

export const trust: Register = (program, act) => {
  const group = program
    .command("trust")
    .description("CI jobs that get a token without a stored secret: an administrator's word")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice trust add github acme/shop -a shop -e production --ref refs/heads/main --repository-id 456 --owner-id 123",
        "sluice trust add github acme/shop -a shop --action preview --repository-id 456 --owner-id 123",
        "sluice trust list",
        "sluice trust explain -",
        "sluice trust remove tru_01J9…",
      ),
    );
  withAddOptions(group.command("add")).action(act(add));
  group
    .command("list", { isDefault: true })
    .description("whom control believes, and what for")
    .action(act(list));
  group
    .command("remove")
    .argument("<id>")
    .description("believe its jobs no longer; the tokens that it gave end at once")
    .option("-y, --yes", "don't ask")
    .action(act(remove));
  group
    .command("explain")
    .argument("<token>", "a CI system's token, or - to read it from stdin")
    .description("say where it differs from each trust; gives nothing, and does not use it up")
    .action(act(explain));
};

const several = (value: string, before: readonly string[]) => [...before, value];

function withAddOptions(command: Command): Command {
  return command
    .argument("<system>", PROVIDERS.join(", "))
    .argument("<project>", "acme/shop; CircleCI: <organization id>/<project id>")
    .description("let the jobs of a project deploy an app, from these refs")
    .option("--ref <ref>", "refs/heads/main, refs/tags/v*, ** for any; repeatable", several, [])
    .option("--repository-id <id>", "GitHub, Forgejo: gh api repos/acme/shop --jq .id")
    .option("--owner-id <id>", "GitHub, Forgejo: gh api repos/acme/shop --jq .owner.id")
    .option("--project-id <id>", "GitLab")
    .option("--namespace-id <id>", "GitLab")
    .option("--organization-id <id>", "Buildkite")
    .option("--pipeline-id <id>", "Buildkite")
    .option(
      "--pin-on-first-use",
      "the first token of that name pins the ids: whoever has the name until then gets in",
    )
    .option("--by-name", "Forgejo whose tokens have no ids: the name alone counts")
    .option("--issuer <url>", "of an instance of your own")
    .option("--event <event>", "also what this starts, such as workflow_run; repeatable", several, [])
    .option("--claim <name=value>", "must be in the token, too; repeatable", several, [])
    .addOption(new Option("--role <role>").choices(["deployer", "approver", "viewer"]).default("deployer"))
    .addOption(
      new Option(
        "--action <action>",
        "deploy: apply, releases, rollbacks, weights, previews; preview: of its own pull request, and nothing else",
      )
        .choices(["deploy", "preview", "any"])
        .default("deploy"),
    );
}

async function add(session: Session, system: string, project: string, options: AddOptions): Promise<Outcome> {
  const { app, env } = session.globals;
  if (app === undefined)
    throw new CliError("usage", "name the app with -a: a trust's reach is never a guess", {
      title: "which app?",
      next: [{ command: session.again("-a <app>"), when: "it is for that app" }],
    });
  const provider = PROVIDERS.find((known) => known === system);
  if (!provider) throw new CliError("usage", `\`${clean(system)}\` is none of ${PROVIDERS.join(", ")}`);
  const { issuer, ref, event, role, action } = options;
  const made = await session.client.trusts.add({
    provider,
    project,
    ids: idsOf(options),
    pinOnFirstUse: options.pinOnFirstUse === true,
    byName: options.byName === true,
    refs: [...ref],
    events: [...event],
    claims: Object.fromEntries(options.claim.map(parseClaim)),
    role,
    action,
    app,
    ...(env === undefined ? {} : { environment: env }),
    ...(issuer === undefined ? {} : { issuer }),
  });
  const first = made.pinOnFirstUse.join(" and ");
  const warning = first === "" ? "" : `. The first token of that name pins ${first}: run the job now`;
  session.out.say(`${made.id}: ${describe(made)}${clean(warning)}`);
  return { exit: EXIT.ok, json: { trust: made }, text: made.id };
}

const idsOf = (options: AddOptions) =>
  Object.fromEntries(
    Object.entries(IDS).flatMap(([flag, claim]) => {
      const id = options[flag as keyof typeof IDS];
      return id === undefined ? [] : [[claim, id]];
    }),
  );

function parseClaim(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new CliError("usage", `\`--claim ${clean(text)}\` is not of the form environment=production`);
}

const placeOf = ({ app, environment }: { app: string; environment: string | null }) =>
  clean(`${app}/${environment ?? "*"}`);

const describe = (trust: TrustView) =>
  `jobs of ${clean(trust.project)} on ${trust.provider}, from ${clean(trust.refs.join(", "))}, may ${MAY[trust.action] ?? `do what a ${trust.role} may on`} ${placeOf(trust)}`;

const MAY: Partial<Record<TrustView["action"], string>> = {
  deploy: "deploy",
  preview: "have the preview of their own pull request of",
};

async function list(session: Session): Promise<Outcome> {
  const items = await session.client.trusts.list();
  const rows = items.map((item) => [
    item.id,
    `${item.provider}:${item.project}`,
    item.refs.join(", "),
    placeOf(item),
    item.action === "any" ? item.role : item.action,
    pinsOf(item),
    ago(item.createdAt, session.now()),
  ]);
  const head = ["ID", "PROJECT", "REFS", "SCOPE", "MAY", "WANTS", "SINCE"];
  const none = "nobody: `sluice trust add github acme/shop …` lets a project's jobs in without a secret";
  return { exit: EXIT.ok, json: { items }, text: rows.length > 0 ? table([head, ...rows]) : none };
}

const pinsOf = ({ pins, pinOnFirstUse }: TrustView) =>
  [
    ...Object.entries(pins).map(([claim, values]) => `${claim}=${values.join("|")}`),
    ...pinOnFirstUse.map((claim) => `${claim}=(its first token's)`),
  ].join(" ");

async function remove(session: Session, id: string, options: { yes?: boolean }): Promise<Outcome> {
  await confirm(session, `Remove ${clean(id)}? Tokens that it gave end at once.`, options.yes);
  await session.client.trusts.remove(id);
  session.out.say(`${clean(id)} is trusted no longer`);
  return { exit: EXIT.ok, json: { removed: id } };
}

async function explain(session: Session, given: string): Promise<Outcome> {
  const token = (given === "-" ? await readStdin(session, "token") : given).trim();
  const explained = await session.client.trusts.explain(token);
  const { problem, trusts, claims } = explained;
  const fits = problem === null && trusts.some(({ mismatches }) => mismatches.length === 0);
  const lines = [
    problem === null ? "Its issuer signed it, for here and now." : `Not believed: ${problem}`,
    ...trusts.map(
      ({ id, mismatches, ...place }) =>
        `${id} ${placeOf(place)}: ${mismatches.length === 0 ? "fits" : mismatches.map(({ claim, wanted, got }) => `${claim} is ${got ?? "missing"}, wanted is ${wanted}`).join("; ")}`,
    ),
    ...(problem === null && trusts.length > 0
      ? []
      : Object.entries(claims).map(([claim, value]) => `  ${claim}: ${value}`)),
  ];
  return { exit: fits ? EXIT.ok : EXIT.usage, json: explained, text: lines.map(clean).join("\n") };
}
