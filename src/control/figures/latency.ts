/** The meter's 112 buckets of 2^(1/8) are joined to octaves from 8 ms to 16 s: finer than a scrape should carry. */
const PER_OCTAVE = 8;
const OCTAVES = Array.from({ length: 12 }, (_, n) => n + 3);

/** Counts by upper bound in seconds, not cumulative. Octave n ends at 2^n ms, where bucket 8n begins (domain/routing/meter.ts). */
export function latencyBuckets(latency: readonly number[]): [string, number][] {
  const sum = (from: number, to: number) => latency.slice(from, to).reduce((all, one) => all + one, 0);
  let from = 0;
  const buckets = OCTAVES.map((octave): [string, number] => {
    const to = PER_OCTAVE * octave;
    const bucket: [string, number] = [String(2 ** octave / 1_000), sum(from, to)];
    from = to;
    return bucket;
  });
  return [...buckets, ["+Inf", sum(from, latency.length)]];
}

/** Seconds, each answer taken for the middle of its bucket: within 5 % of the true sum. */
export const latencySum = (latency: readonly number[]): number =>
  latency.reduce((sum, count, bucket) => sum + count * 2 ** ((bucket + 0.5) / PER_OCTAVE), 0) / 1_000;
