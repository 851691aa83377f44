import { EXIT, EXIT_MEANINGS, type ExitCode } from "../exit-codes.ts";
import { EXPLANATIONS } from "../explanations.ts";
import { FAILURES } from "../failures.ts";
import { table } from "../io/print.ts";
import { CliError, exitOf } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register } from "../verb.ts";

type Failure = keyof typeof FAILURES;
const isFailure = (code: string): code is Failure => Object.hasOwn(FAILURES, code);
const FAILURE_CODES = Object.keys(FAILURES).filter(isFailure);

type Code = keyof typeof EXPLANATIONS;
const isCode = (code: string): code is Code => Object.hasOwn(EXPLANATIONS, code);
const CODES = Object.keys(EXPLANATIONS).filter(isCode);

export const explain: Register = (program, act) => {
  program
    .command("explain")
    .argument("[code]", "a problem's or a failure's code, or an exit code")
    .description("what a code means and what to do; needs no network")
    .addHelpText(
      "before",
      examples(
        "sluice explain no_slots",
        "sluice explain health_status",
        "sluice explain 4",
        "sluice explain",
      ),
    )
    .action(act(run));
};

async function run(_session: Session, code: string | undefined): Promise<Outcome> {
  if (code === undefined) return everything();
  const exit = Object.values(EXIT).find((value) => String(value) === code);
  if (exit !== undefined) return ofExit(exit);
  if (isFailure(code)) return ofFailure(code);
  if (!isCode(code))
    throw new CliError("usage", `there is no code \`${code}\``, {
      next: [{ command: "sluice explain", when: "to see them all" }],
    });
  const [meaning, advice] = EXPLANATIONS[code];
  const exitCode = exitOf(code);
  const text = `${code} (exit code ${exitCode})\n  ${meaning}\n  ${advice}`;
  return { exit: EXIT.ok, json: { code, meaning, advice, exitCode }, text };
}

function ofFailure(code: Failure): Outcome {
  const [meaning, advice] = FAILURES[code];
  return { exit: EXIT.ok, json: { code, meaning, advice }, text: `${code}\n  ${meaning}\n  ${advice}` };
}

function ofExit(exitCode: ExitCode): Outcome {
  const codes = CODES.filter((code) => exitOf(code) === exitCode);
  const meaning = EXIT_MEANINGS[exitCode];
  const text = [
    `exit code ${exitCode}: ${meaning}`,
    ...(codes.length > 0 ? [`  problems: ${codes.join(", ")}`] : []),
  ];
  return { exit: EXIT.ok, json: { exitCode, meaning, codes }, text: text.join("\n") };
}

function everything(): Outcome {
  const exits = Object.values(EXIT).map((code) => [String(code), EXIT_MEANINGS[code]]);
  const problems = CODES.map((code) => [code, String(exitOf(code)), EXPLANATIONS[code][0]]);
  const failures = FAILURE_CODES.map((code) => [code, FAILURES[code][0]]);
  return {
    exit: EXIT.ok,
    json: {
      exits: Object.values(EXIT).map((exitCode) => ({ exitCode, meaning: EXIT_MEANINGS[exitCode] })),
      codes: CODES.map((code) => ({
        code,
        exitCode: exitOf(code),
        meaning: EXPLANATIONS[code][0],
        advice: EXPLANATIONS[code][1],
      })),
      failures: FAILURE_CODES.map((code) => ({
        code,
        meaning: FAILURES[code][0],
        advice: FAILURES[code][1],
      })),
    },
    text: `${table([["EXIT", "MEANING"], ...exits])}\n\n${table([["CODE", "EXIT", "MEANING"], ...problems])}\n\n${table([["FAILURE", "MEANING"], ...failures])}`,
  };
}
