/**
 * What each shell is told once. They ask `sluice complete` at each press of the key, which answers a line per candidate, what it
 * is about behind a tab; where there is none they complete files. No word of the line is ever run.
 */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** Bash takes `--wait=do` apart and replaces what is behind the `=`. */
const BASH = `_sluice() {
  local candidate word=\${COMP_WORDS[COMP_CWORD]} words=() i
  for ((i = 1; i <= COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      =) words[\${#words[@]} - 1]+="=" ;;
      *) if ((i > 1)) && [[ \${COMP_WORDS[i - 1]} == = ]]; then words[\${#words[@]} - 1]+=\${COMP_WORDS[i]}; else words+=("\${COMP_WORDS[i]}"); fi ;;
    esac
  done
  COMPREPLY=()
  while IFS=$'\\t' read -r candidate _; do
    if [[ $word == = || \${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then candidate=\${candidate#*=}; fi
    COMPREPLY+=("$candidate")
  done < <(sluice complete -- "\${words[@]}" 2>/dev/null)
}
complete -o default -F _sluice sluice`;

const ZSH = `(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u; }
_sluice() {
  local line
  local -a names
  while IFS= read -r line; do
    names+=("\${\${line%%$'\\t'*}//:/\\\\:}\${\${(M)line:#*$'\\t'*}:+:\${line#*$'\\t'}}")
  done < <(sluice complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)
  if (( $#names )); then _describe sluice names; else _files; fi
}
compdef _sluice sluice`;

const FISH = `function __sluice_complete
  set -l words (commandline -opc)
  set -e words[1]
  set -l found (sluice complete -- $words (commandline -ct) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c sluice -f -a '(__sluice_complete)'`;

export const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
