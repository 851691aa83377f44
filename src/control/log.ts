/** What a line is about, by ids that a person can search for; and whatever else helps. */
export interface LogFacts {
  readonly request?: string | undefined;
  readonly environment?: string | undefined;
  readonly release?: string | undefined;
  readonly job?: string | undefined;
  /** Its id or its name. */
  readonly host?: string | undefined;
  readonly [fact: string]: unknown;
}

/** One line of JSON, as Workers Logs indexes it. `event` is stable, e.g. `sweep.poke_failed`. */
function write(level: "info" | "warn" | "error", event: string, facts: LogFacts): void {
  console[level](JSON.stringify({ level, event, ...facts }));
}

/** What happened, so that the edge's and an agent's lines of the same ids have control's between them: few a release. */
export const logInfo = (event: string, facts: LogFacts = {}): void => write("info", event, facts);

/** Something is not as it should be, and goes on. */
export const logWarning = (event: string, facts: LogFacts = {}): void => write("warn", event, facts);

/** Something failed that nobody was told of, or whose cause nobody is to be told. */
export function logFailure(event: string, error: unknown, facts: LogFacts = {}): void {
  const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
  write("error", event, { ...facts, error: cause });
}
