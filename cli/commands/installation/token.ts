import { Option } from "commander";
import { collect } from "../../../src/client/index.ts";
import { EXIT } from "../../exit-codes.ts";
import { confirm } from "../../io/confirm.ts";
import { ago, clean, table, until } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";
import { examplesOfEach, parseCount, type Register } from "../../verb.ts";

type Role = "admin" | "deployer" | "approver" | "viewer";

export const token: Register = (program, act) => {
  const group = program
    .command("token")
    .description("who may do what")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice token create ci --role deployer -a shop -e production",
        "sluice token list",
        "sluice token revoke tok_01J9…",
      ),
    );
  group
    .command("create")
    .argument("<name>")
    .description("make a token; stdout is the token alone, shown only this once")
    .addOption(
      new Option("--role <role>").choices(["admin", "deployer", "approver", "viewer"]).makeOptionMandatory(),
    )
    .addOption(
      new Option("--action <action>", "all that it is for, beside reading")
        .choices(["any", "deploy", "preview"])
        .default("any"),
    )
    .option("--person <email>", "whose it is: nobody approves what they started themselves")
    .option("--days <n>", "days until it expires", parseCount(365), 90)
    .action(act(create));
  group.command("list", { isDefault: true }).description("all tokens, never their secrets").action(act(list));
  group
    .command("revoke")
    .argument("<id>")
    .description("end a token at once")
    .option("-y, --yes", "don't ask")
    .action(act(revoke));
};

/** The scope is what `-a` and `-e` say and nothing from the manifest: a token's reach is never a guess. */
async function create(
  session: Session,
  name: string,
  options: { role: Role; days: number; person?: string; action: "any" | "deploy" | "preview" },
): Promise<Outcome> {
  const { app, env } = session.globals;
  const created = await session.client.tokens.create({
    name,
    role: options.role,
    ...(options.action === "any" ? {} : { action: options.action }),
    ...(options.person === undefined ? {} : { person: options.person }),
    ...(app === undefined ? {} : { app }),
    ...(env === undefined ? {} : { environment: env }),
    expiresInDays: options.days,
  });
  const scope = [created.app ?? "every app", created.environment ?? "every environment"]
    .map(clean)
    .join(", ");
  session.out.say(
    `${created.id}: ${created.role} for ${scope}; expires ${created.expiresAt ? until(created.expiresAt, session.now()) : "never"}. It is shown only this once:`,
  );
  return { exit: EXIT.ok, json: created, text: created.token, secret: true };
}

async function list(session: Session): Promise<Outcome> {
  const items = await collect((page) => session.client.tokens.list(page));
  const now = session.now();
  const rows = items.map((item) => [
    item.id,
    item.name,
    item.role,
    [item.app ?? "*", item.environment ?? "*"].join("/"),
    item.revokedAt ? `revoked ${ago(item.revokedAt, now)}` : expiry(item.expiresAt, now),
    item.lastUsedAt ? ago(item.lastUsedAt, now) : "never",
  ]);
  return {
    exit: EXIT.ok,
    json: { items },
    text: table([["ID", "NAME", "ROLE", "SCOPE", "EXPIRES", "USED"], ...rows]),
  };
}

function expiry(expiresAt: string | null, now: number): string {
  if (expiresAt === null) return "never";
  return Date.parse(expiresAt) > now ? until(expiresAt, now) : `expired ${ago(expiresAt, now)}`;
}

async function revoke(session: Session, id: string, options: { yes?: boolean }): Promise<Outcome> {
  await confirm(session, `Revoke ${clean(id)}? Whoever uses it is shut out at once.`, options.yes);
  await session.client.tokens.revoke(id);
  session.out.say(`${clean(id)} is revoked`);
  return { exit: EXIT.ok, json: { revoked: id } };
}
