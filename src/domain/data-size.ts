const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Bytes as people say them, in powers of a thousand: `812 B`, `18.8 kB`, `130 MB`. */
export function dataSize(bytes: number): string {
  // What would round up to a thousand is one of the next unit.
  const unit = UNITS.findIndex((_, n) => bytes < 999.5 * 1000 ** n);
  const n = unit === -1 ? UNITS.length - 1 : unit;
  const value = bytes / 1000 ** n;
  return `${value.toFixed(n === 0 || value >= 100 ? 0 : 1)} ${UNITS[n]}`;
}
