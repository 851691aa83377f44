import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { ago, clean, table } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examplesOfEach, type Register } from "../verb.ts";

export const hostnames: Register = (program, act) => {
  const group = program
    .command("hostnames")
    .description("which hostnames an app may have: an administrator's word")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice hostnames allow shop.example.com -a shop",
        "sluice hostnames allow '*.shop.example.com' -a shop",
        "sluice hostnames list",
        "sluice hostnames revoke '*.shop.example.com' -a shop",
      ),
    );
  group
    .command("allow")
    .argument("<pattern>", "a name, *.name for everything below it, or name/path for a part of its paths")
    .description("let the app have it; the app need not be there yet")
    .option("--claim", "also from another site that it leads to by now")
    .action(act(allow));
  group.command("list", { isDefault: true }).description("what the app may have, and has").action(act(list));
  group
    .command("revoke")
    .argument("<pattern>")
    .description("take it back; refused while a hostname stands on it")
    .option("-y, --yes", "don't ask")
    .action(act(revoke));
};

async function allow(session: Session, pattern: string, options: { claim?: boolean }): Promise<Outcome> {
  const { app } = session.target();
  const grant = await session.client.hostnames.allow({ app, pattern }, { claim: options.claim === true });
  const also = grant.claim ? ", also from the site that it leads to by now" : "";
  session.out.say(`${app} may have ${clean(grant.pattern)}${also}`);
  return { exit: EXIT.ok, json: { hostname: grant } };
}

async function list(session: Session): Promise<Outcome> {
  const { app } = session.target();
  const items = await session.client.hostnames.list(app);
  const rows = items.map(({ pattern, claim, covers, by, createdAt }) => [
    pattern,
    claim ? "yes" : "no",
    covers.map(({ hostname, environment }) => `${hostname} (${environment})`).join(", ") || "nothing yet",
    by,
    ago(createdAt, session.now()),
  ]);
  const none = `${app} may have no hostname: an administrator allows one, or applies its manifest`;
  const head = ["HOSTNAME", "CLAIM", "COVERS", "BY", "SINCE"];
  return { exit: EXIT.ok, json: { items }, text: rows.length > 0 ? table([head, ...rows]) : none };
}

async function revoke(session: Session, pattern: string, options: { yes?: boolean }): Promise<Outcome> {
  const { app } = session.target();
  await confirm(session, `Take ${clean(pattern)} back from ${app}?`, options.yes);
  await session.client.hostnames.revoke({ app, pattern });
  session.out.say(`${app} may not have ${clean(pattern)} any more`);
  return { exit: EXIT.ok, json: { revoked: pattern } };
}
