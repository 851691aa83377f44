/** What a benchmark found, against the budgets of the design. */
export interface BenchResult {
  readonly name: string;
  readonly figures: Readonly<Record<string, number | string>>;
  readonly budgets: Readonly<Record<string, Budget>>;
  readonly met: boolean;
}

/** The bound of the figure of the same name. */
export type Budget = { readonly atLeast: number } | { readonly atMost: number };

/** Holds the figures against their budgets; a budget without its figure is missed. */
export function resultOf(
  name: string,
  figures: BenchResult["figures"],
  budgets: BenchResult["budgets"],
): BenchResult {
  const met = Object.entries(budgets).every(([figure, budget]) => isMet(figures[figure], budget));
  return { name, figures, budgets, met };
}

export function isMet(figure: number | string | undefined, budget: Budget): boolean {
  if (typeof figure !== "number" || Number.isNaN(figure)) return false;
  return "atLeast" in budget ? figure >= budget.atLeast : figure <= budget.atMost;
}

export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
