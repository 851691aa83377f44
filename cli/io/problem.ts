import { ApiError, ConnectionError, ProtocolError } from "../../src/client/index.ts";
import type { NextStep, Problem, ProblemCode } from "../../src/protocol/problem.ts";
import { EXIT, EXIT_OF_PROBLEM, type ExitCode } from "../exit-codes.ts";

/** What can go wrong on this side of the wire; same shape and same rules as the API's codes. */
export const CLI_CODES = {
  usage: EXIT.usage,
  no_config: EXIT.usage,
  no_manifest: EXIT.usage,
  confirmation_required: EXIT.usage,
  declined: EXIT.usage,
  value_required: EXIT.usage,
  not_sluice: EXIT.usage,
  state_changed: EXIT.refused,
  requirement_unmet: EXIT.refused,
  docker_unavailable: EXIT.refused,
  build_failed: EXIT.refused,
  push_failed: EXIT.refused,
  disk_full: EXIT.refused,
  no_contact: EXIT.noAnswer,
  timeout: EXIT.noAnswer,
  interrupted: EXIT.interrupted,
  crash: EXIT.usage,
} as const satisfies Record<string, ExitCode>;
export type CliCode = keyof typeof CLI_CODES;

export type CliProblem = Omit<Problem, "code" | "status"> & {
  readonly code: ProblemCode | CliCode;
  /** HTTP's, so absent for what never left this machine. */
  readonly status?: number;
};

/** Stops a command with a problem found on this side. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly problem: CliProblem;

  constructor(code: CliCode | ProblemCode, detail: string, more: { title?: string } & CliErrorFacts = {}) {
    super(detail);
    const { title, next, errors } = more;
    this.problem = {
      type: `urn:sluice:problem:${code}`,
      title: title ?? code.replaceAll("_", " "),
      code,
      detail,
      next: [...(next ?? [])],
      ...(errors ? { errors: [...errors] } : {}),
    };
  }
}

interface CliErrorFacts {
  readonly next?: readonly NextStep[];
  readonly errors?: NonNullable<Problem["errors"]>;
}

export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

export const exitOf = (code: ProblemCode | CliCode): ExitCode =>
  code in CLI_CODES ? CLI_CODES[code as CliCode] : EXIT_OF_PROBLEM[code as ProblemCode];

/** Any error as the one object that text, `--json` and exit code are made from. */
export function toProblem(error: unknown): CliProblem {
  if (error instanceof CliError) return error.problem;
  if (error instanceof ApiError) return error.problem;
  if (error instanceof ConnectionError) return noContact(error).problem;
  if (error instanceof ProtocolError)
    return new CliError("not_sluice", error.message, { next: [SET_URL] }).problem;
  if (error instanceof Interrupted) return new CliError("interrupted", "interrupted").problem;
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliError("crash", detail, { title: "a bug in sluice" }).problem;
}

const SET_URL: NextStep = {
  command: "export SLUICE_URL=https://<control plane>",
  when: "the address is wrong (or use --url, or .sluice/cli.json)",
};

function noContact(error: ConnectionError): CliError {
  const code = error.timedOut ? "timeout" : "no_contact";
  return new CliError(code, error.message, {
    title: error.timedOut ? "no answer in time" : "no contact with the control plane",
    next: [SET_URL, { command: "npm start", when: "it is the local one, and isn't running" }],
  });
}
