/**
 * The edge's log: one JSON object a line, as control writes its own. `event` is a noun and what became of it.
 */
export interface LogFacts {
  readonly request?: string;
  readonly hostname?: string;
  readonly environment?: string;
  /** Ids, not labels. */
  readonly release?: string;
  readonly instance?: string;
  /** What happened, in words, and what follows from it. */
  readonly detail?: string;
}

/** Something that is worked around: the visitor is served. */
export function logWarning(event: string, facts: LogFacts): void {
  console.warn(line("warn", event, facts));
}

/** Something that failed, with the error's stack where there is one. */
export function logError(event: string, error: unknown, facts: LogFacts): void {
  const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
  console.error(line("error", event, { ...facts, error: cause }));
}

const line = (level: string, event: string, facts: object): string =>
  JSON.stringify({ time: new Date().toISOString(), level, event, ...facts });
