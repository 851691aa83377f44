/** One thing the demo did, and what it cost visitors. */
export interface DemoPhase {
  readonly phase: string;
  readonly requests: number;
  readonly failed: number;
  readonly failures: readonly string[];
  readonly ms: number;
  /** What it takes at most on an idle machine. */
  readonly budgetMs: number;
  /** `expected`: the phase is about a release that harms visitors until it is found out. */
  readonly harm?: "expected";
  /** What `ms` measures. */
  readonly note: string;
  /** Why the phase did not do what it should. */
  readonly error: string | null;
}

const isHarmless = (phase: DemoPhase): boolean => phase.failed === 0 || phase.harm === "expected";
const met = (phase: DemoPhase): boolean => isHarmless(phase) && phase.error === null;

export function summary(phases: readonly DemoPhase[], runtime: string) {
  const total = (key: "requests" | "failed") => phases.reduce((sum, phase) => sum + phase[key], 0);
  return {
    schema: 1,
    ok: phases.every(met),
    runtime,
    requests: total("requests"),
    failed: total("failed"),
    phases,
  };
}

/** The table a newcomer came for. */
export function printTable(phases: readonly DemoPhase[]): void {
  const rows = phases.map((phase) => [
    phase.phase,
    phase.requests.toLocaleString("en"),
    String(phase.failed),
    `${(phase.ms / 1000).toFixed(2)} s`,
    met(phase) ? `${phase.note}${slowness(phase)}` : `NOT MET: ${why(phase)}`,
  ]);
  const table = [["phase", "requests", "failed", "time", ""], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  for (const row of table) {
    const cells = row.map((cell, column) =>
      column === 0 || column === 4 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.error(cells.join("   ").trimEnd());
  }
  for (const phase of phases.filter((one) => !isHarmless(one)))
    for (const failure of phase.failures) console.error(`  ${phase.phase}: ${failure.trim()}`);
}

function why(phase: DemoPhase): string {
  return phase.error ?? `${phase.failed} requests failed`;
}

/** Said and not counted against the demo: how fast this machine is, is not what it shows. */
const slowness = ({ ms, budgetMs }: DemoPhase): string =>
  ms > budgetMs ? `; slow: ${budgetMs / 1000} s on a machine with nothing else to do` : "";
