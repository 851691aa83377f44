import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parse as parseToml } from "smol-toml";
import { parse as parseYaml, stringify } from "yaml";
import { parseManifest } from "../../../src/protocol/manifest/manifest.ts";
import { EXIT } from "../../exit-codes.ts";
import { readCompose } from "../../import/compose.ts";
import { withoutErb } from "../../import/erb.ts";
import { readFly } from "../../import/fly.ts";
import { readKamal } from "../../import/kamal.ts";
import type { Entry } from "../../import/ledger.ts";
import { PLACEHOLDER_HOSTNAME } from "../../import/values.ts";
import { clean, plural, table } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, type Register } from "../../verb.ts";
import { schemaLine } from "./schema-line.ts";

interface Options {
  readonly service?: string;
  readonly image?: string;
  readonly hostname?: string;
  readonly output: string;
  readonly force?: boolean;
}

export const importFile: Register = (program, act) => {
  program
    .command("import")
    .argument("<file>", "a compose.yaml, a Kamal deploy.yml or a fly.toml")
    .description("write sluice.yaml from another tool's file, and say what became of each of its keys")
    .option("--service <name>", "of a compose file: which service is the app")
    .option("--image <repository>", "where the app's image is, without a tag")
    .option("--hostname <name>", "where visitors come")
    .option("--output <file>", "where to write", "sluice.yaml")
    .option("--force", "write over a file that is there")
    .addHelpText(
      "before",
      examples(
        "sluice import compose.yaml --service web --hostname shop.example.com",
        "sluice import config/deploy.yml",
        "sluice import fly.toml",
      ),
    )
    .action(act(run));
};

async function run(session: Session, file: string, options: Options): Promise<Outcome> {
  const output = resolve(session.cwd, options.output);
  if (existsSync(output) && !options.force)
    throw new CliError(
      "usage",
      `${options.output} is there already: name another with --output, or write over it with --force`,
    );
  const read = readOther(session, file, options);
  if ("problem" in read) throw new CliError("usage", `${clean(file)}: ${read.problem}`);
  const text = `${schemaLine(session)}${stringify(read.draft, { lineWidth: 110 })}`;
  const entries = read.ledger.close(read.source);
  writeFileSync(output, text);
  const { out } = session;
  out.say(report(entries));
  const todo = entries.filter(({ fate }) => fate === "todo").length;
  const wrong = parseManifest(text.replace(/\$\{\w+(?::-([^}]*))?\}/g, (_, fallback) => fallback || "x"));
  out.say(`${options.output} is written: ${plural(todo, "thing")} left to do by hand`);
  if (!wrong.ok)
    for (const error of wrong.errors) out.say(`  ✖ line ${error.line ?? "?"}: ${clean(error.detail)}`);
  if (text.includes(PLACEHOLDER_HOSTNAME)) out.say("  next:  set the hostname, then: sluice apply --dry-run");
  else out.say("  next:  sluice apply --dry-run");
  return { exit: EXIT.ok, json: { written: options.output, keys: entries, manifest: read.draft } };
}

function readOther(session: Session, file: string, options: Options) {
  const text = readOf(session, file);
  const more = { ...options, folder: basename(session.cwd) };
  if (file.endsWith(".toml")) {
    const source = orRefuse(file, () => parseToml(text));
    return { ...readFly(source, more), source };
  }
  const yaml = withoutErb(text);
  const source: unknown = orRefuse(file, () => parseYaml(yaml, { merge: true, logLevel: "error" }));
  const isKamal =
    typeof source === "object" && source !== null && "service" in source && !("services" in source);
  return { ...(isKamal ? readKamal(source, more) : readCompose(source, more)), source };
}

function readOf(session: Session, file: string): string {
  try {
    return readFileSync(resolve(session.cwd, file), "utf8");
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new CliError("usage", `can't read ${clean(file)}: ${reason}`);
  }
}

function orRefuse<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new CliError(
      "usage",
      `${clean(file)} can't be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

const HEADS = {
  taken: "taken over",
  todo: "to do by hand",
  needless: "not needed",
  lost: "not there in Sluice",
} as const;

function report(entries: readonly Entry[]): string {
  const groups = (["taken", "needless", "lost", "todo"] as const).map((fate) => {
    const rows = entries.filter((entry) => entry.fate === fate).map(({ key, words }) => [`  ${key}`, words]);
    return rows.length === 0 ? "" : `${HEADS[fate]}\n${table(rows)}`;
  });
  return groups.filter((group) => group !== "").join("\n");
}
