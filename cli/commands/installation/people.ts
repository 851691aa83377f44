import { Option } from "commander";
import { EXIT } from "../../exit-codes.ts";
import { clean, table } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";
import { examplesOfEach, type Register } from "../../verb.ts";

type Role = "admin" | "deployer" | "approver" | "viewer";
const WHO = "ann@example.com, '*@example.com', group:<name> or service:<client id>";

export const people: Register = (program, act) => {
  const group = program
    .command("people")
    .description("who comes in through Cloudflare Access, and whose accounts are whose")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice people list",
        "sluice people access --team acme --aud <tag>",
        "sluice people allow '*@example.com' --role viewer",
        "sluice people rm grant_01J9…",
        "sluice people link ann@example.com slack:T0123/U0456",
        "sluice people unlink slack:T0123/U0456",
      ),
    );
  group.command("list", { isDefault: true }).description("all of it").action(act(list));
  group
    .command("allow")
    .argument("<who>", WHO)
    .description("give a role; -a and -e say where, and without them it is everywhere")
    .addOption(
      new Option("--role <role>").choices(["admin", "deployer", "approver", "viewer"]).makeOptionMandatory(),
    )
    .action(act(allow));
  group
    .command("rm")
    .argument("<id>", "as `sluice people` shows it")
    .description("take a role back")
    .action(
      act(async (session: Session, id: string) => {
        await session.client.people.remove(id);
        return done(session, "people rm", `${clean(id)} holds no more`);
      }),
    );
  withAccounts(group, act);
  group
    .command("access")
    .description("name the Access application in front of control")
    .option("--team <name>", "of <name>.cloudflareaccess.com")
    .option("--aud <tag>", "the application's Audience tag")
    .option("--off", "believe none any more")
    .action(act(access));
};

/** Whose an account elsewhere is: who presses a button there is asked for it. */
const withAccounts: Register = (group, act) => {
  group
    .command("link")
    .argument("<email>")
    .argument("<account>", "slack:<team id>/<user id> or github:<numeric id>")
    .description("say whose an account elsewhere is")
    .action(
      act(async (session: Session, email: string, identity: string) => {
        await session.client.people.link({ email, identity });
        return done(session, "people link", `${clean(identity)} is ${clean(email)}`);
      }),
    );
  group
    .command("unlink")
    .argument("<account>")
    .description("say that it is nobody's")
    .action(
      act(async (session: Session, identity: string) => {
        await session.client.people.unlink(identity);
        return done(session, "people unlink", `${clean(identity)} is nobody's`);
      }),
    );
};

/** The scope is what `-a` and `-e` say and nothing from the manifest, as with tokens. */
async function allow(session: Session, who: string, { role }: { role: Role }): Promise<Outcome> {
  const { app, env } = session.globals;
  const place = { ...(app === undefined ? {} : { app }), ...(env === undefined ? {} : { environment: env }) };
  const grant = await session.client.people.allow({ who, role, ...place });
  const scope = [grant.app ?? "every app", grant.environment ?? "every environment"].map(clean).join(", ");
  session.out.say(`${clean(grant.who)} is ${grant.role} for ${scope}`);
  return { exit: EXIT.ok, json: { grant }, text: grant.id };
}

async function access(
  session: Session,
  { team, aud: audience, off }: { team?: string; aud?: string; off?: boolean },
): Promise<Outcome> {
  if (off) {
    await session.client.people.setAccess(null);
    return done(session, "people access", "no Access application is believed any more");
  }
  if (team === undefined || audience === undefined)
    throw new CliError("usage", "name both: --team <name> --aud <tag>; or --off");
  await session.client.people.setAccess({ team, audience });
  return done(session, "people access", `tokens of ${clean(team)}'s application count from now on`);
}

async function list(session: Session): Promise<Outcome> {
  const found = await session.client.people.list();
  const { grants, links } = found;
  const rows = [
    ...grants.map(({ id, who, role, app, environment }) => [
      ...[id, who, role, `${app ?? "*"}/${environment ?? "*"}`],
    ]),
    ...links.map(({ identity, email }) => [identity, email, "is", ""]),
  ];
  const where = found.access ? found.access.team : "no Access application is set: sluice people access";
  session.out.say(clean(where));
  const text = rows.length > 0 ? table([["ID", "WHO", "ROLE", "SCOPE"], ...rows]) : "nobody yet";
  return { exit: EXIT.ok, json: { ...found }, text };
}

function done(session: Session, command: string, says: string): Outcome {
  session.out.say(says);
  return { exit: EXIT.ok, json: { command, exitCode: EXIT.ok } };
}
