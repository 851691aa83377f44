import type { ApplyAnswer } from "../../src/protocol/api/apps.ts";
import { EXIT } from "../exit-codes.ts";
import { accessoryNotes } from "../io/accessory-text.ts";
import { wholeText } from "../io/manifest-file.ts";
import { clean, plural } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register } from "../verb.ts";

export const apply: Register = (program, act) => {
  program
    .command("apply")
    .description("make the control plane know the manifest; releases nothing")
    .option("--dry-run", "only say what would change")
    .option("--claim", "take hostnames that lead to another site by now (administrators)")
    .addHelpText("before", examples("sluice apply", "sluice apply -f infra/sluice.yaml --dry-run"))
    .action(act(run));
};

async function run(session: Session, options: { dryRun?: boolean; claim?: boolean }): Promise<Outcome> {
  const file = session.manifest();
  const { manifest, path } = file;
  const answer = await session.client.apps.apply(manifest.app, wholeText(file), {
    dryRun: options.dryRun === true,
    claim: options.claim === true,
  });
  const { out } = session;
  out.say(applyText(answer, path));
  if (answer.granted.length > 0)
    out.say(
      `${answer.app} ${answer.dryRun ? "would be" : "is"} granted ${answer.granted.map(clean).join(", ")}`,
    );
  for (const note of accessoryNotes(answer.accessories)) out.say(note);
  if (answer.created && !answer.dryRun)
    out.say(
      `  next:  ${session.command("deploy", { app: answer.app, environment: answer.environments[0] ?? "production" })}`,
    );
  return { exit: EXIT.ok, json: answer };
}

/** What an apply changed, or would change. */
export function applyText(answer: ApplyAnswer, path: string): string {
  const verb = answer.dryRun ? "would be" : "is";
  if (answer.created)
    return `${answer.app} ${verb} created from ${path}: ${plural(answer.environments.length, "environment")} (${answer.environments.map(clean).join(", ")})`;
  if (answer.changes.length === 0) return `${answer.app}: nothing to change, ${path} is what is applied`;
  const head = `${answer.app}: ${plural(answer.changes.length, "change")} ${answer.dryRun ? "would be made" : "made"}`;
  const lines = answer.changes.map(
    (change) => `  ${clean(change.path)}: ${value(change.before)} → ${value(change.after)}`,
  );
  return [head, ...lines].join("\n");
}

function value(part: unknown): string {
  if (part === undefined || part === null) return "(none)";
  const text = clean(typeof part === "string" ? part : JSON.stringify(part));
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
