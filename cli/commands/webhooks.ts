import { Option } from "commander";
import { collect } from "../../src/client/index.ts";
import type { WebhookView } from "../../src/protocol/webhooks.ts";
import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { githubLogin } from "../io/github-login.ts";
import { ago, clean, quote, table, until } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examplesOfEach, parseCount, type Register } from "../verb.ts";

type Severity = WebhookView["severity"];

export const webhooks: Register = (program, act) => {
  const group = program
    .command("webhooks")
    .description(
      "who is told of releases and alerts: programs, by signed messages, Slack, GitHub, and collectors of traces",
    )
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice webhooks add https://ci.example.com/sluice -a shop --events 'release.*'",
        "sluice webhooks add https://hooks.slack.com/services/T…/B…/… --severity error",
        "sluice webhooks slack C0123456789 -a shop",
        "sluice webhooks github acme/shop -a shop --commit-status",
        "sluice webhooks otlp https://otel.example.com",
        "sluice webhooks list",
        "sluice webhooks deliveries hook_01J9… --failed",
        "sluice webhooks replay hook_01J9…",
        "sluice webhooks test hook_01J9…",
        "sluice webhooks rotate-secret hook_01J9…",
        "sluice webhooks rm hook_01J9…",
      ),
    );
  group
    .command("add")
    .argument("<url>", "https only; hooks.slack.com gets messages that Slack shows")
    .description("tell an address; stdout is the secret that signs its messages, shown only this once")
    .option("--events <types>", "only these, e.g. 'release.*,traffic.alert'", (text: string) =>
      text.split(","),
    )
    .addOption(severityOption())
    .action(act(add));
  withPlatforms(group, act);
  group.command("list", { isDefault: true }).description("who is told of what").action(act(list));
  const withId = (name: string, description: string) =>
    group.command(name).argument("<id>", "as `sluice webhooks list` shows it").description(description);
  withId("rm", "tell it no more").option("-y, --yes", "don't ask").action(act(remove));
  withId("deliveries", "what it was sent, and how that went")
    .option("--failed", "only what was given up")
    .option("--limit <n>", "how many at most", parseCount(1_000), 20)
    .action(act(deliveries));
  withId("replay", "send again: one delivery, or all that were given up")
    .argument("[delivery]", "as `sluice webhooks deliveries` shows it")
    .action(act(replay));
  withId("test", "send a test message").action(act(test));
  withId("rotate-secret", "make another secret; for a day messages are signed by both").action(act(rotate));
};

/** Those that want more than an address. */
const withPlatforms: Register = (group, act) => {
  group
    .command("slack")
    .argument("<channel>", "its id or name; the app's bot has to be in it")
    .description("tell a channel by a Slack app: one message per release, with buttons")
    .addOption(severityOption())
    .addHelpText("after", "\nReads SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET from the environment.")
    .action(act(addSlack));
  group
    .command("otlp")
    .argument("<url>", "https://otel.example.com, or all of it: https://otel.example.com/v1/traces")
    .description("tell a collector of traces: each release as one, by OTLP")
    .addHelpText("after", "\nReads OTEL_EXPORTER_OTLP_HEADERS (name=value,…) from the environment: its key.")
    .action(act(addOtlp));
  group
    .command("github")
    .argument("<repository>", "owner/name: it is told of releases of its commits")
    .description("keep a Deployment at GitHub for each release, and the commit's status if asked")
    .option("--commit-status", "write the status of the released commit, too")
    .option("--no-deployment", "keep no Deployments: the status alone")
    .option("--api <url>", "of an Enterprise Server, or of one with data residency")
    .addHelpText(
      "after",
      "\nReads from the environment GITHUB_TOKEN (fine-grained: Deployments, and Commit statuses, read and write),\nor of an app GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID and GITHUB_APP_PRIVATE_KEY (its PEM).",
    )
    .action(act(addGitHub));
};

const severityOption = () =>
  new Option("--severity <level>", "info: all; warn: what waits for a person, and failures; error: failures")
    .choices(["info", "warn", "error"])
    .default("info");

/** Secrets stand in no command line. */
async function addSlack(
  session: Session,
  channel: string,
  { severity }: { severity: Severity },
): Promise<Outcome> {
  const { SLACK_BOT_TOKEN: token, SLACK_SIGNING_SECRET: signingSecret } = session.env;
  if (!token || !signingSecret)
    throw new CliError("usage", "set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET in the environment");
  const { app, env } = session.globals;
  const made = await session.client.webhooks.add({
    slack: { token, channel, signingSecret },
    severity,
    ...(app === undefined ? {} : { app }),
    ...(env === undefined ? {} : { environment: env }),
  });
  session.out.say(`${made.id}: ${clean(channel)} is told of ${scopeOf(made)}`);
  session.out.say(
    `  its buttons: set the app's interactivity request URL to <control>/slack/${made.id}/actions`,
  );
  return { exit: EXIT.ok, json: { webhook: made }, text: made.id };
}

async function addGitHub(
  session: Session,
  repository: string,
  options: { commitStatus?: boolean; deployment: boolean; api?: string },
): Promise<Outcome> {
  const { app, env } = session.globals;
  const { commitStatus = false, deployment, api } = options;
  const made = await session.client.webhooks.add({
    github: {
      ...{ repository, deployment, commitStatus, ...githubLogin(session.env) },
      ...(api === undefined ? {} : { api }),
    },
    ...(app === undefined ? {} : { app }),
    ...(env === undefined ? {} : { environment: env }),
  });
  session.out.say(`${made.id}: ${clean(made.url)} is told of ${scopeOf(made)}`);
  session.out.say(`  try it  ${session.carry(`sluice webhooks test ${made.id}`)}`);
  return { exit: EXIT.ok, json: { webhook: made }, text: made.id };
}

/** Its headers are secrets, too. */
async function addOtlp(session: Session, url: string): Promise<Outcome> {
  const { app, env } = session.globals;
  const headers = parseHeaders(session.env.OTEL_EXPORTER_OTLP_HEADERS ?? "");
  const made = await session.client.webhooks.add({
    otlp: { url, headers },
    ...(app === undefined ? {} : { app }),
    ...(env === undefined ? {} : { environment: env }),
  });
  const names = Object.keys(headers).join(", ");
  session.out.say(`${made.id}: ${clean(made.url)} gets each release of ${whereOf(made)} as a trace`);
  session.out.say(
    `  sent along: ${names === "" ? "nothing (OTEL_EXPORTER_OTLP_HEADERS is not set)" : clean(names)}`,
  );
  session.out.say(`  try it  ${session.carry(`sluice webhooks test ${made.id}`)}`);
  return { exit: EXIT.ok, json: { webhook: made }, text: made.id };
}

/** As OpenTelemetry writes them: `name=value,name=value`, with values as in URLs. */
function parseHeaders(text: string): Record<string, string> {
  const pairs = text.split(",").filter((pair) => pair.trim() !== "");
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at <= 0) throw new CliError("usage", "OTEL_EXPORTER_OTLP_HEADERS must be name=value,name=value");
      return [pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())];
    }),
  );
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** What it is told of is what `-a` and `-e` say and nothing from the manifest, as with tokens. */
async function add(
  session: Session,
  url: string,
  options: { events?: string[]; severity: Severity },
): Promise<Outcome> {
  const { app, env } = session.globals;
  const made = await session.client.webhooks.add({
    url,
    severity: options.severity,
    ...(app === undefined ? {} : { app }),
    ...(env === undefined ? {} : { environment: env }),
    ...(options.events ? { events: options.events.map((type) => type.trim()) } : {}),
  });
  session.out.say(`${made.id}: ${clean(made.url)} is told of ${scopeOf(made)}`);
  session.out.say(`  try it  ${session.carry(`sluice webhooks test ${made.id}`)}`);
  if (made.secret === null) return { exit: EXIT.ok, json: { webhook: made } };
  session.out.say("The secret that signs its messages is shown only this once:");
  return { exit: EXIT.ok, json: { webhook: made }, text: made.secret, secret: true };
}

const whereOf = ({ app, environment }: WebhookView): string =>
  [app ?? "every app", environment].filter((part) => part !== null).join("/");

const scopeOf = (webhook: WebhookView): string => {
  const { events, severity, kind } = webhook;
  if (kind === "otlp") return `releases of ${whereOf(webhook)}, as traces`;
  if (kind === "github") return `releases of its commits in ${whereOf(webhook)}`;
  const what = events === null ? "everything" : events.join(", ");
  return `${what} of ${whereOf(webhook)}${severity === "info" ? "" : `, ${severity} and above`}`;
};

async function list(session: Session): Promise<Outcome> {
  const items = await session.client.webhooks.list();
  const rows = items.map((item) => [
    item.id,
    item.url,
    scopeOf(item),
    item.disabledCause === null ? "yes" : `no: ${item.disabledCause}`,
  ]);
  const none = "nobody is told of anything: sluice webhooks add <url>";
  return {
    exit: EXIT.ok,
    json: { items },
    text: rows.length > 0 ? table([["ID", "ADDRESS", "IS TOLD OF", "ON"], ...rows]) : none,
  };
}

async function remove(session: Session, id: string, options: { yes?: boolean }): Promise<Outcome> {
  await confirm(session, `Tell ${clean(id)} no more, and drop what is still to be sent to it?`, options.yes);
  await session.client.webhooks.remove(id);
  session.out.say(`${clean(id)} is told of nothing more`);
  return { exit: EXIT.ok, json: { removed: id } };
}

async function deliveries(
  session: Session,
  id: string,
  options: { failed?: boolean; limit: number },
): Promise<Outcome> {
  const failed = options.failed === true;
  const items = await collect(
    (page) => session.client.webhooks.deliveries(id, page, { failed }),
    options.limit,
  );
  const rows = items.map((item) => [
    item.id,
    item.type,
    item.state,
    String(item.attempts),
    ago(item.createdAt, session.now()),
    item.nextAttemptAt === null || item.attempts === 0 ? "-" : until(item.nextAttemptAt, session.now()),
    item.error ?? (item.status === null ? "-" : String(item.status)),
  ]);
  const head = ["DELIVERY", "TYPE", "STATE", "TRIES", "MADE", "AGAIN", "ANSWER"];
  const text = rows.length > 0 ? table([head, ...rows]) : "nothing";
  return { exit: EXIT.ok, json: { items }, text };
}

async function replay(session: Session, id: string, delivery?: string): Promise<Outcome> {
  const replayed = await session.client.webhooks.replay(id, delivery);
  session.out.say(
    replayed === 0 ? "nothing was given up: there is nothing to send again" : `${replayed} sent again`,
  );
  return { exit: EXIT.ok, json: { replayed } };
}

async function test(session: Session, id: string): Promise<Outcome> {
  await session.client.webhooks.test(id);
  session.out.say("a test message is on its way");
  session.out.say(`  see how  ${session.carry(`sluice webhooks deliveries ${quote(id)} --limit 1`)}`);
  return { exit: EXIT.ok, json: { sent: id } };
}

async function rotate(session: Session, id: string): Promise<Outcome> {
  const made = await session.client.webhooks.rotateSecret(id);
  session.out.say(
    `messages are signed by the secret before, too, for another day (${clean(made.beforeUntil)}). The new one is shown only this once:`,
  );
  return { exit: EXIT.ok, json: made, text: made.secret, secret: true };
}
