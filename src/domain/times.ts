/** Times as people read them, in the one form that control's words, its pages and the CLI have. */

const UNITS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1_000, "s"],
] as const;

/** `15 m`, `1 h 30 m`, `90 s`, `250 ms`: at most two units, and minutes only from two of them on. */
export function spell(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const first = UNITS.find(([size]) => (size === 60_000 ? ms >= 2 * size || ms === size : ms >= size));
  if (!first) return `${ms} ms`;
  const [size, unit] = first;
  if (unit === "s") return `${Number((ms / size).toFixed(1))} s`;
  const whole = Math.floor(ms / size);
  const rest = ms - whole * size;
  const next = UNITS[UNITS.indexOf(first) + 1];
  const more = next ? Math.floor(rest / next[0]) : 0;
  return next && more > 0 ? `${whole} ${unit} ${more} ${next[1]}` : `${whole} ${unit}`;
}

/** `2026-11-29 12:04:05 UTC`, of epoch ms. */
export const moment = (at: number): string =>
  `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
