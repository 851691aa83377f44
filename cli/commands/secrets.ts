import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseEnv } from "node:util";
import type { Command } from "commander";
import { type SecretView, type SetSecretAnswer, secretNameSchema } from "../../src/protocol/api/secrets.ts";
import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { unclearLines } from "../io/dotenv.ts";
import { ago, clean, plural, table } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import { readStdin, readValue } from "../io/read-value.ts";
import type { Outcome, Session, Target } from "../session.ts";
import { examplesOfEach, type Register } from "../verb.ts";
import { rotateKey } from "./installation/rotate-key.ts";

const PREVIEWS = "those that pull requests' previews get, which are apart from the environment's own";

export const secrets: Register = (program, act) => {
  const group = program
    .command("secrets")
    .description("values that the app gets as variables, and that nobody can read back")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice secrets set DATABASE_URL",
        'printf %s "$URL" | sluice secrets set DATABASE_URL',
        "sluice secrets set --from .env.production",
        "sluice secrets list",
        "sluice secrets rm OLD_KEY",
        "sluice secrets rotate-key",
      ),
    );
  group
    .command("set")
    .argument("[name]")
    .description("give a secret a value: asked for, or read from stdin, never an argument")
    .option("--from <file>", "set all that a dotenv file has; - is stdin")
    .option("--revoke-old", "drop the older values: no release is started with one again")
    .option("--previews", PREVIEWS)
    // So that a value that was typed as an argument is refused with the reason, and not echoed.
    .allowExcessArguments()
    .action(act(set));
  group
    .command("list", { isDefault: true })
    .description("names and versions, what is missing, what nobody uses")
    .option("--previews", PREVIEWS)
    .action(act(list));
  group
    .command("rm")
    .argument("<name>")
    .description("remove a secret; what runs keeps it")
    .option("--previews", PREVIEWS)
    .option("-y, --yes", "don't ask")
    .action(act(remove));
  group
    .command("rotate-key")
    .description("seal everything under control's new key, or say how to give it one")
    .action(act(rotateKey));
};

async function set(
  session: Session,
  name: string | undefined,
  options: { from?: string; revokeOld?: boolean; previews?: boolean },
  command: Command,
): Promise<Outcome> {
  if (command.args.length > 1) throw noArgument(name ?? "NAME");
  if (name?.includes("=")) throw noArgument(name.slice(0, name.indexOf("=")));
  if (options.from !== undefined) return setAll(session, { ...options, from: options.from }, name);
  if (name === undefined)
    throw new CliError("usage", "which secret? Name it, or a file that has several", {
      next: [
        { command: "sluice secrets set NAME", when: "it is one" },
        { command: "sluice secrets set --from .env", when: "they stand in a dotenv file" },
      ],
    });
  refuseNames([name], "the command line");
  const { previews } = options;
  const target = session.target();
  const example = `printf %s "$${name}" | ${session.command(`secrets set ${name}`, target)}`;
  const { text, newlineCut } = await readValue(session, { name, example });
  const answer = await session.client.secrets.set({ ...target, name, previews }, text, options);
  if (newlineCut) session.out.say("one newline at the end was cut");
  sayWhatNow(session, target, [answer]);
  return { exit: EXIT.ok, json: { secrets: [answer] } };
}

const noArgument = (name: string) => {
  const safe = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : "NAME";
  const detail = `a value is never an argument: it would stand in the shell's history, and other processes could read it. If it was a real one, it did just now: change it where it comes from`;
  return new CliError("usage", detail, {
    title: "not as an argument",
    next: [
      { command: `sluice secrets set ${safe}`, when: "to be asked for it" },
      { command: `sluice secrets set ${safe} < file`, when: "a file or another program has it" },
    ],
  });
};

/** Nothing is sent before everything in the file was looked at. */
async function setAll(
  session: Session,
  { from: file, previews, ...options }: { from: string; revokeOld?: boolean; previews?: boolean },
  name: string | undefined,
): Promise<Outcome> {
  if (name !== undefined)
    throw new CliError("usage", `--from sets all that ${clean(file)} has: leave \`${clean(name)}\` out`);
  const text = await readDotenv(session, file);
  const unclear = unclearLines(text);
  if (unclear.length > 0)
    throw new CliError(
      "usage",
      `${clean(file)} can be read in two ways, so nothing was set:\n${unclear.join("\n")}`,
      {
        title: "not clear",
      },
    );
  const values = Object.entries(parseEnv(text));
  if (values.length === 0) throw new CliError("value_required", `${clean(file)} has no NAME=value line`);
  refuseNames(
    values.map(([key]) => key),
    clean(file),
  );
  const empty = values.filter(([, value]) => !value).map(([key]) => key);
  if (empty.length > 0)
    throw new CliError("value_required", `${empty.join(", ")}: no value in ${clean(file)}`);
  const target = session.target();
  const answers: SetSecretAnswer[] = [];
  for (const [key, value = ""] of values)
    answers.push(await session.client.secrets.set({ ...target, name: key, previews }, value, options));
  sayWhatNow(session, target, answers);
  return { exit: EXIT.ok, json: { secrets: answers } };
}

async function readDotenv(session: Session, file: string): Promise<string> {
  if (file === "-") return readStdin(session, "the dotenv file");
  try {
    return readFileSync(resolve(session.cwd, file), "utf8");
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new CliError("usage", `can't read ${clean(file)}: ${reason}`);
  }
}

function refuseNames(names: readonly string[], where: string): void {
  const errors = names.flatMap((name) => {
    const parsed = secretNameSchema.safeParse(name);
    return parsed.success ? [] : [`\`${clean(name)}\` ${parsed.error.issues[0]?.message ?? "is no name"}`];
  });
  if (errors.length > 0) throw new CliError("usage", `${where}: ${errors.join("; ")}`);
}

function sayWhatNow(session: Session, target: Target, answers: readonly SetSecretAnswer[]): void {
  for (const { secret, changed } of answers) {
    const version = `version ${secret.version}`;
    session.out.say(
      changed ? `${secret.name} is set (${version})` : `${secret.name} has that value already (${version})`,
    );
  }
  const unused = answers.filter(({ secret }) => secret.usedBy.length === 0).map(({ secret }) => secret.name);
  if (unused.length > 0) {
    session.out.say(
      `nobody gets ${unused.join(", ")} yet: name ${unused.length === 1 ? "it" : "them"} under \`secrets:\` in the manifest, then \`sluice apply\``,
    );
  }
  if (answers.some(({ secret, changed }) => changed && (secret.version ?? 0) > 1)) {
    const command = session.command("status", target);
    session.out.say(`what runs keeps the value it was started with; who does, and the way on: ${command}`);
  }
}

async function list(session: Session, { previews }: { previews?: boolean }): Promise<Outcome> {
  const { app, environment } = session.target();
  const items = await session.client.secrets.list({ app, environment, previews });
  const rows = items.map((item) => rowOf(item, session.now()));
  const missing = items.filter((item) => !item.isSet).length;
  if (missing > 0) session.out.say(`${plural(missing, "secret")} to be set before the next release`);
  for (const item of items) if (item.unreadable) session.out.say(`✖ ${item.name}: ${clean(item.unreadable)}`);
  const text =
    rows.length > 0
      ? table([["NAME", "VERSION", "SET", "BY", "USED BY"], ...rows])
      : `no secrets in ${app}/${environment}, and the manifest names none`;
  return { exit: EXIT.ok, json: { items }, text };
}

const rowOf = (item: SecretView, now: number): string[] => [
  item.name,
  item.version === null ? "-" : String(item.version),
  item.updatedAt === null ? "NOT SET" : ago(item.updatedAt, now),
  item.updatedBy ?? "-",
  item.usedBy.join(", ") || "nobody",
];

async function remove(
  session: Session,
  name: string,
  options: { yes?: boolean; previews?: boolean },
): Promise<Outcome> {
  const { app, environment } = session.target();
  const question = `Remove ${clean(name)} from ${app}/${environment}? Its value can't be read back.`;
  await confirm(session, question, options.yes);
  await session.client.secrets.remove({ app, environment, name, previews: options.previews });
  session.out.say(`${clean(name)} is removed`);
  return { exit: EXIT.ok, json: { removed: name } };
}
