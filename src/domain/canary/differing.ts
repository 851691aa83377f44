/**
 * Which fields differ only for the canary. While it is as good as stable, each comparison that finds a field different on one
 * side alone is a fair coin: that stable's second answer is the odd one is just as likely. So the coin's heads are tested with an
 * e-value per field, Σᵢ (2pᵢ)ˣ·(2−2pᵢ)ʸ / n, which may be read after every window.
 */
import { type Compared, Comparisons, type FieldEntry } from "../routing/compare.ts";
import { type ComparedSoFar, foldKeys } from "./dynamic-keys.ts";
import { logSumExp } from "./evidence.ts";

/** Chance that a field which does not differ is ever named. */
const FALSE_FIELD = 1 / 10_000;
/** How one-sided: from noise with a fault in it to what never differs otherwise. */
const HEADS = [0.75, 0.95, 0.999];
/** Told with a judgement. */
const MOST_TOLD = 5;

/** A field that differs for the canary more than stable does from itself. */
export interface Differing {
  readonly route: string;
  /** A path as `$.items[].price`, `status`, `content-type`, `not JSON`, or a list's `order`. */
  readonly field: string;
  /** Comparisons of this route, and in how many of them the canary, and stable with itself, differed. */
  readonly answers: number;
  readonly canary: number;
  readonly stable: number;
}

export interface DifferingFields {
  /** The likeliest first. */
  readonly named: readonly Differing[];
  /** Besides those. */
  readonly more: number;
}

/** Folds what a window compared into what was compared before; not what is to differ. */
export function addCompared(
  past: ComparedSoFar | undefined,
  window: Compared,
  ignore: readonly string[] = [],
): ComparedSoFar {
  const told = { ...window, fields: window.fields.filter(({ field }) => !isIgnored(field, ignore)) };
  const folded = foldKeys(past ?? { routes: [], fields: [] }, told);
  const { maps } = folded.past;
  const sum = new Comparisons();
  sum.add(folded.past);
  sum.add(folded.window);
  return { ...sum.read(), ...(maps && { maps }) };
}

/** What was told, without what is to differ. */
export function withoutIgnored(
  { named, more }: DifferingFields,
  ignore: readonly string[],
): DifferingFields | null {
  const left = named.filter(({ field }) => !isIgnored(field, ignore));
  return left.length + more > 0 ? { named: left, more } : null;
}

/** A path stands for all that lies in it: `$.meta` for `$.meta.build` and `$.meta.tags[] order`, not for `$.metadata`. */
const isIgnored = (field: string, ignore: readonly string[]): boolean =>
  ignore.some(
    (path) => field === path || (field.startsWith(path) && ".[ ".includes(field[path.length] ?? "-")),
  );

/** The fields that surely differ; null: none. */
export function differing({ routes, fields }: Compared): DifferingFields | null {
  const answers = new Map(routes.map((one) => [one.route, one.answers]));
  const sure = fields
    .map((entry) => ({ entry, logE: evidence(entry) }))
    .filter(({ logE }) => logE >= -Math.log(FALSE_FIELD))
    .sort((a, b) => b.logE - a.logE);
  if (sure.length === 0) return null;
  const named = sure.slice(0, MOST_TOLD).map(({ entry: { route, field, canary, stable, both } }) => ({
    route,
    field,
    answers: answers.get(route) ?? 0,
    canary: canary + both,
    stable: stable + both,
  }));
  return { named, more: sure.length - named.length };
}

const evidence = ({ canary, stable }: FieldEntry): number =>
  logSumExp(HEADS.map((p) => canary * Math.log(2 * p) + stable * Math.log(2 - 2 * p))) -
  Math.log(HEADS.length);
