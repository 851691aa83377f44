import { Argument, type Command } from "commander";
import { EXIT } from "../../exit-codes.ts";
import type { Outcome } from "../../session.ts";
import { examples, type Register } from "../../verb.ts";

export const completion: Register = (program, act) => {
  program
    .command("completion")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh"]))
    .description("a script that completes commands and flags")
    .addHelpText(
      "before",
      examples(
        'eval "$(sluice completion bash)"      # in ~/.bashrc',
        'eval "$(sluice completion zsh)"       # in ~/.zshrc',
      ),
    )
    .action(
      act(async (_session, shell: "bash" | "zsh"): Promise<Outcome> => {
        const script = completionScript(program, shell);
        return { exit: EXIT.ok, json: { shell, script }, text: script };
      }),
    );
};

/** Made from the commands themselves, so that it can't name one that isn't there. */
function completionScript(program: Command, shell: "bash" | "zsh"): string {
  const cases = program.commands.map(
    (verb) =>
      `    ${verb.name()}) choices="${[...subcommands(verb), ...flags(verb), ...flags(program)].join(" ")}" ;;`,
  );
  const verbs = subcommands(program);
  return [
    ...(shell === "zsh" ? ["autoload -U +X bashcompinit && bashcompinit"] : []),
    "_sluice() {",
    "  local word verb= choices=",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
    `    case "$word" in ${verbs.join("|")}) verb=$word; break ;; esac`,
    "  done",
    '  case "$verb" in',
    ...cases,
    `    *) choices="${[...verbs, ...flags(program)].join(" ")}" ;;`,
    "  esac",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '  COMPREPLY=($(compgen -W "$choices" -- "${COMP_WORDS[COMP_CWORD]}"))',
    "}",
    "complete -o default -F _sluice sluice",
  ].join("\n");
}

const subcommands = (command: Command) => command.commands.map((sub) => sub.name());
const flags = (command: Command) =>
  command.options.flatMap((option) =>
    option.long === undefined || option.long === null ? [] : [option.long],
  );
