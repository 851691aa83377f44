import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { ago, clean, quote, table } from "../io/print.ts";
import { readValue } from "../io/read-value.ts";
import type { Outcome, Session } from "../session.ts";
import { examplesOfEach, type Register } from "../verb.ts";

export const registry: Register = (program, act) => {
  const group = program
    .command("registry")
    .description("logins with which hosts pull this app's images")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice registry set ghcr.io --username acme-bot",
        'printf %s "$TOKEN" | sluice registry set docker.io --username acme',
        "sluice registry list",
        "sluice registry rm ghcr.io",
      ),
    );
  group
    .command("set")
    .argument("<registry>", "host and port, such as ghcr.io; docker.io for Docker Hub")
    .description("log the app in; the password is asked for, or read from stdin")
    .requiredOption("--username <name>", "who")
    .action(act(set));
  group
    .command("list", { isDefault: true })
    .description("the app's logins, never their passwords")
    .action(act(list));
  group
    .command("rm")
    .argument("<registry>")
    .description("forget a login")
    .option("-y, --yes", "don't ask")
    .action(act(remove));
};

async function set(session: Session, name: string, options: { username: string }): Promise<Outcome> {
  const { app } = session.target();
  const { text: password, newlineCut } = await readValue(session, {
    name: `the password of ${clean(options.username)} at ${clean(name)}`,
    example: `printf %s "$TOKEN" | ${session.carry(`sluice registry set ${quote(name)} --username ${quote(options.username)}`)}`,
  });
  const answer = await session.client.registries.set(
    { app, registry: name },
    { username: options.username, password },
  );
  if (newlineCut) session.out.say("one newline at the end was cut");
  session.out.say(`${app} pulls from ${clean(answer.registry)} as ${clean(answer.username)} from now on`);
  return { exit: EXIT.ok, json: { registry: answer } };
}

async function list(session: Session): Promise<Outcome> {
  const { app } = session.target();
  const items = await session.client.registries.list(app);
  for (const item of items)
    if (item.unreadable) session.out.say(`✖ ${clean(item.registry)}: ${clean(item.unreadable)}`);
  const rows = items.map((item) => [
    item.registry,
    item.username,
    ago(item.updatedAt, session.now()),
    item.updatedBy,
  ]);
  const none = `no logins: hosts pull ${app}'s images with what \`docker login\` left on them`;
  const text = rows.length > 0 ? table([["REGISTRY", "USERNAME", "SET", "BY"], ...rows]) : none;
  return { exit: EXIT.ok, json: { items }, text };
}

async function remove(session: Session, name: string, options: { yes?: boolean }): Promise<Outcome> {
  const { app } = session.target();
  await confirm(session, `Forget ${app}'s login at ${clean(name)}?`, options.yes);
  await session.client.registries.remove({ app, registry: name });
  session.out.say(`${app} has no login at ${clean(name)} any more`);
  return { exit: EXIT.ok, json: { removed: name } };
}
