import { Argument, type Command } from "commander";
import { namesFor } from "../../completion/names.ts";
import { SCRIPTS, SHELLS, type Shell } from "../../completion/scripts.ts";
import { type Candidate, wantedAt } from "../../completion/wanted.ts";
import { EXIT } from "../../exit-codes.ts";
import { clean } from "../../io/print.ts";
import { type Outcome, Session } from "../../session.ts";
import { examples, type Register } from "../../verb.ts";

export const completion: Register = (program, act) => {
  program
    .command("completion")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .description(
      "a script that completes commands, options, and names of apps, environments, releases and hosts",
    )
    .addHelpText(
      "before",
      examples(
        'eval "$(sluice completion bash)"      # in ~/.bashrc',
        'eval "$(sluice completion zsh)"       # in ~/.zshrc',
        "sluice completion fish | source       # in ~/.config/fish/config.fish",
      ),
    )
    .action(
      act(async (_session, shell: Shell): Promise<Outcome> => {
        const script = SCRIPTS[shell];
        return { exit: EXIT.ok, json: { shell, script }, text: script };
      }),
    );
  // What those scripts ask.
  program
    .command("complete", { hidden: true })
    .argument("[words...]")
    .action(act((session, words: string[]) => complete(program, session, words)));
};

async function complete(program: Command, session: Session, line: readonly string[]): Promise<Outcome> {
  const wanted = wantedAt(program, line);
  const names = await namesFor(sessionOf(session, wanted.globals), wanted);
  const items = [...wanted.words, ...names]
    .filter(({ value }) => value.startsWith(wanted.typed))
    .map((one) => ({ ...one, value: wanted.before + one.value }));
  const text = items.length > 0 ? items.map(asLine).join("\n") : undefined;
  return { exit: EXIT.ok, json: { items }, text };
}

const asLine = ({ value, about }: Candidate) => (about ? `${value}\t${clean(about)}` : value);

/** The line's own `-a`, `-e`, `--url` and the like hold for what is looked up. */
function sessionOf(
  { out, terminal, cwd, signal, version, now }: Session,
  globals: Record<string, string>,
): Session {
  return new Session({ globals, out, terminal, cwd, signal, version, now });
}
