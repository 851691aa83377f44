import { percent } from "./pieces.tsx";

/** One side's value at a moment, with where the true one lies nineteen times in twenty; null: not known. */
interface Point {
  readonly at: number;
  readonly value: number | null;
  readonly band?: readonly [number, number] | undefined;
}
export interface Curve {
  readonly name: string;
  /** 0: stable, 1: the canary. */
  readonly fill: 0 | 1;
  readonly points: readonly Point[];
}

const WIDTH = 560;
const HEIGHT = 190;
const LEFT = 76;
const [TOP, BOTTOM] = [14, 166];

/** Curves on one scale, drawn on the server: the same with and without a script. */
export const Chart = (props: {
  label: string;
  curves: readonly Curve[];
  limit: number | null;
  unit: "%" | "ms";
}) => {
  const points = props.curves.flatMap(({ points: own }) => own);
  const times = points.map(({ at }) => at);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const tops = points.map(({ value, band }) =>
    Math.max(value ?? 0, Math.min(band?.[1] ?? 0, (value ?? 0) * 3 + 0.01)),
  );
  const most = roundTop(Math.max(...tops, (props.limit ?? 0) * 1.15), props.unit);
  const x = (at: number) => Math.round(LEFT + ((at - from) / Math.max(1, to - from)) * (WIDTH - LEFT - 8));
  const y = (value: number) => Number((BOTTOM - (Math.min(value, most) / most) * (BOTTOM - TOP)).toFixed(1));
  const say = (value: number) =>
    props.unit === "%" ? percent(Number((value * 100).toPrecision(2))) : `${Math.round(value)} ms`;
  return (
    <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={props.label}>
      {[0, 0.5, 1].map((part) => (
        <>
          <line class="axis" x1={LEFT} x2={WIDTH - 8} y1={y(most * part)} y2={y(most * part)} />
          <text x={LEFT - 6} y={y(most * part) + 4} text-anchor="end">
            {say(most * part)}
          </text>
        </>
      ))}
      {props.curves.map((curve) => (
        <Line curve={curve} x={x} y={y} />
      ))}
      {props.limit !== null && (
        <>
          <line class="limit" x1={LEFT} x2={WIDTH - 8} y1={y(props.limit)} y2={y(props.limit)} />
          <text class="limit-text" x={WIDTH - 10} y={y(props.limit) - 5} text-anchor="end">
            limit {say(props.limit)}
          </text>
        </>
      )}
      <text x={LEFT} y={HEIGHT - 6}>
        {clock(from)}
        {to > from ? "" : " UTC"}
      </text>
      {to > from && (
        <text x={WIDTH - 8} y={HEIGHT - 6} text-anchor="end">
          {clock(to)} UTC
        </text>
      )}
    </svg>
  );
};

/** The next number that people read at a glance, and whose half is one, too. Milliseconds are whole. */
function roundTop(value: number, unit: "%" | "ms"): number {
  const least = Math.max(value, unit === "ms" ? 10 : 0.001);
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 3, 4, 6, 8, 10].find((digit) => digit * power >= least * 0.999) ?? 10);
}

const clock = (at: number) => new Date(at).toISOString().slice(11, 19);

const Line = (props: { curve: Curve; x: (at: number) => number; y: (value: number) => number }) => {
  const { curve, x, y } = props;
  const known = curve.points.filter((point) => point.value !== null);
  const [first] = known;
  if (first && known.length === 1) return <Dot fill={curve.fill} point={first} x={x} y={y} />;
  const high = known.map(({ at, value, band }) => `${x(at)},${y(band?.[1] ?? value ?? 0)}`);
  const low = known.map(({ at, value, band }) => `${x(at)},${y(band?.[0] ?? value ?? 0)}`);
  return (
    <>
      {known.some(({ band }) => band) && (
        <polygon class={`b${curve.fill}`} points={[...high, ...low.toReversed()].join(" ")} />
      )}
      <polyline
        class={`l${curve.fill}`}
        points={known.map(({ at, value }) => `${x(at)},${y(value ?? 0)}`).join(" ")}
      />
    </>
  );
};

/** What was judged once makes no line yet: where it is, and between which bounds. */
const Dot = (props: {
  fill: 0 | 1;
  point: Point;
  x: (at: number) => number;
  y: (value: number) => number;
}) => {
  const { fill, point, x, y } = props;
  // Both sides of one moment stand beside each other.
  const at = x(point.at) + (fill === 0 ? 12 : 24);
  const [low, high] = point.band ?? [point.value ?? 0, point.value ?? 0];
  return (
    <>
      <line class={`dot l${fill}`} x1={at} x2={at} y1={y(low)} y2={y(high)} />
      <circle class={`dot l${fill}`} cx={at} cy={y(point.value ?? 0)} r="4" />
    </>
  );
};

/** Where a rate lies with 95 % confidence, seen at one moment (Wilson's score interval). */
export function wilson(errors: number, requests: number): readonly [number, number] | undefined {
  if (requests === 0) return undefined;
  const z = 1.96;
  const p = errors / requests;
  const middle = p + z ** 2 / (2 * requests);
  const spread = z * Math.sqrt((p * (1 - p)) / requests + z ** 2 / (4 * requests ** 2));
  const whole = 1 + z ** 2 / requests;
  return [Math.max(0, (middle - spread) / whole), Math.min(1, (middle + spread) / whole)];
}
