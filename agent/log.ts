/**
 * Facts of a log line: first the ids it is about (`job`, `release`, `instance`, `run`, `stream`), as control's log has
 * them, so that one id finds both sides' lines. Never a token, never an app's environment: callers pass ids and texts
 * only.
 */
type LogFacts = Record<string, string | number | boolean | undefined>;
type LogLevel = "info" | "warn" | "error";

export interface Log {
  info(event: string, facts?: LogFacts): void;
  warn(event: string, facts?: LogFacts): void;
  error(event: string, facts?: LogFacts): void;
}

/** Writes one line per event: JSON for machines, or short words for people. `redact` has the last word on each. */
export function createLog(format: "json" | "human", redact: (line: string) => string): Log {
  const line = format === "json" ? jsonLine : humanLine;
  const at =
    (level: LogLevel) =>
    (event: string, facts: LogFacts = {}) =>
      process.stderr.write(`${redact(line(level, event, facts, new Date()))}\n`);
  return { info: at("info"), warn: at("warn"), error: at("error") };
}

const jsonLine = (level: LogLevel, event: string, facts: LogFacts, at: Date) =>
  JSON.stringify({ time: at.toISOString(), level, event, ...facts });

function humanLine(level: LogLevel, event: string, facts: LogFacts, at: Date): string {
  const pairs = Object.entries(facts).filter(([, value]) => value !== undefined);
  const tail = pairs.map(([key, value]) => `${key}=${value}`).join(" ");
  const mark = level === "info" ? "" : `${level}: `;
  return `${at.toISOString().slice(11, 23)} ${mark}${event}${tail && ` · ${tail}`}`;
}
