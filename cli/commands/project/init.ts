import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { stringify } from "yaml";
import { hostnameSchema } from "../../../src/protocol/api/hostnames.ts";
import { imageSchema } from "../../../src/protocol/api/releases.ts";
import { EXIT } from "../../exit-codes.ts";
import { readDockerfile, readProcfile } from "../../import/folder.ts";
import { compact, nameOf, withoutTag } from "../../import/values.ts";
import { askOr } from "../../io/confirm.ts";
import { clean } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, type Register } from "../../verb.ts";
import { schemaLine } from "./schema-line.ts";

interface Options {
  readonly image?: string;
  readonly hostname?: string;
  readonly port?: string;
  readonly force?: boolean;
}

const OTHERS = [
  "compose.yaml",
  "compose.yml",
  "docker-compose.yml",
  "docker-compose.yaml",
  "config/deploy.yml",
  "fly.toml",
];

export const init: Register = (program, act) => {
  program
    .command("init")
    .description("write sluice.yaml from what lies in this folder: Dockerfile, Procfile; asks two questions")
    .option("--image <repository>", "where the app's image is, without a tag")
    .option("--hostname <name>", "where visitors come")
    .option("--port <n>", "what the app listens on (default: the Dockerfile's EXPOSE, else 3000)")
    .option("--force", "write over a sluice.yaml that is there")
    .addHelpText(
      "before",
      examples("sluice init", "sluice init --image ghcr.io/acme/shop --hostname shop.example.com"),
    )
    .action(act(run));
};

async function run(session: Session, options: Options): Promise<Outcome> {
  const { cwd, out } = session;
  const file = resolve(cwd, "sluice.yaml");
  if (existsSync(file) && !options.force)
    throw new CliError("usage", "sluice.yaml is there already: change it, or write over it with --force");
  const docker = readDockerfile(textOf(cwd, "Dockerfile"));
  const procfile = readProcfile(textOf(cwd, "Procfile"));
  const app = nameOf(basename(cwd));
  const image = await answer(session, {
    flag: "--image",
    given: options.image,
    question: `Where is the image? [ghcr.io/<you>/${app}] `,
    schema: imageSchema,
  });
  const hostname = await answer(session, {
    flag: "--hostname",
    given: options.hostname,
    question: `Where do visitors come? [${app}.example.com] `,
    schema: hostnameSchema,
  });
  const port = Number(options.port ?? docker.port ?? 3000);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new CliError("usage", `--port ${clean(String(options.port))}: it must be a port from 1 to 65535`);
  const draft = compact({
    app,
    image: withoutTag(image),
    port,
    command: procfile.web,
    processes: procfile.workers,
    hooks: compact({ expand: procfile.release }),
    environments: { production: { hostnames: [hostname] } },
  });
  writeFileSync(file, `${schemaLine(session)}${stringify(draft, { lineWidth: 110 })}`);
  out.say(
    `sluice.yaml is written: ${app}, port ${port}${docker.port === undefined && options.port === undefined ? " (no EXPOSE says another)" : ""}`,
  );
  for (const note of notes(cwd, docker.hasHealthcheck)) out.say(`  ${note}`);
  out.say("  next:  sluice apply");
  return { exit: EXIT.ok, json: { written: "sluice.yaml", manifest: draft } };
}

function* notes(cwd: string, hasHealthcheck: boolean): Generator<string> {
  const other = OTHERS.find((name) => existsSync(resolve(cwd, name)));
  if (other) yield `${other} says more: sluice import ${other} --force takes it over`;
  if (!existsSync(resolve(cwd, "Dockerfile")))
    yield "there is no Dockerfile here: the image has to come from elsewhere";
  if (hasHealthcheck) yield "the Dockerfile's HEALTHCHECK is asked, too";
  else yield "readiness asks GET /: set health.readiness.path where the app says that it can serve";
}

function textOf(cwd: string, name: string): string | undefined {
  const file = resolve(cwd, name);
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

interface Question {
  readonly flag: string;
  readonly given: string | undefined;
  readonly question: string;
  readonly schema: typeof imageSchema | typeof hostnameSchema;
}

/** By flag, else asked for on a terminal; never guessed. */
async function answer(session: Session, { flag, given, question, schema }: Question): Promise<string> {
  const text = given ?? (await askOr(session, question, flag));
  const parsed = schema.safeParse(text.trim());
  if (parsed.success) return parsed.data;
  throw new CliError(
    "usage",
    `${flag} ${clean(text)}: it ${parsed.error.issues[0]?.message ?? "is not valid"}`,
  );
}
