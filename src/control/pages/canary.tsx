import { z } from "zod";
import type { VerdictView } from "../../protocol/api/verdicts.ts";
import { Chart, type Curve, wilson } from "./chart.tsx";
import { Ago, count, Name, percent, State, type Tone } from "./parts.tsx";

const sideSchema = z.object({
  requests: z.number(),
  errors: z.number(),
  p50Ms: z.number().nullable(),
  p95Ms: z.number().nullable(),
  p99Ms: z.number().nullable(),
});
const numbersSchema = z.object({
  rollout: z.object({ canary: sideSchema, baseline: sideSchema }),
  limits: z.object({
    errorRateMax: z.number(),
    p95MaxMs: z.number().nullable(),
    minRequests: z.number(),
  }),
});
type Side = z.infer<typeof sideSchema>;

const WORDS: Partial<Record<string, readonly [Tone, string]>> = {
  rollback: ["bad", "worse than stable"],
  hold: ["warn", "stable itself fails"],
  pass: ["ok", "no worse than stable"],
};

/** The canary against stable in the same units, as of each judgement since it began. `verdicts`: newest first. */
export const Canary = (props: { version: string; verdicts: readonly VerdictView[]; now: number }) => {
  const judged = props.verdicts.flatMap((verdict) => {
    // Numbers of a version that wrote them otherwise are left out: the words stand by themselves.
    const numbers = numbersSchema.safeParse(verdict.numbers);
    return numbers.success ? [{ ...numbers.data, at: Date.parse(verdict.at), verdict }] : [];
  });
  const [last] = judged;
  if (!last) return <p class="card none">Not enough traffic yet: nothing was judged so far.</p>;
  const isEarly = last.verdict.verdict === "continue" && last.verdict.reason === "low-traffic";
  const [tone, word] = isEarly
    ? (["idle", "not enough traffic yet"] as const)
    : (WORDS[last.verdict.verdict] ?? (["moving", "not proven yet"] as const));
  const side = (of: "canary" | "baseline") =>
    judged.toReversed().map(({ at, rollout }) => ({ at, side: rollout[of] }));
  const curves = (value: (side: Side) => Curve["points"][number]["value"], isRate: boolean): Curve[] =>
    (["baseline", "canary"] as const).map((of, fill) => ({
      name: of,
      fill: fill === 0 ? 0 : 1,
      points: side(of).map(({ at, side: one }) => ({
        at,
        value: value(one),
        band: isRate ? wilson(one.errors, one.requests) : undefined,
      })),
    }));
  const { canary, baseline } = last.rollout;
  return (
    <>
      <p class="verdict">
        <State tone={tone}>{word}</State> <Name>{last.verdict.words}</Name>{" "}
        <span class="soft">
          <Ago at={last.verdict.at} now={props.now} />
        </span>
      </p>
      <div class="grid">
        <figure class="card">
          <figcaption>
            Error rate <span class="soft">with its 95 % interval</span>
          </figcaption>
          <Chart
            label={`Error rate: ${props.version} ${rate(canary)}, stable ${rate(baseline)}, limit ${percent(last.limits.errorRateMax * 100)}`}
            curves={curves((one) => (one.requests === 0 ? null : one.errors / one.requests), true)}
            limit={last.limits.errorRateMax}
            unit="%"
          />
        </figure>
        <figure class="card">
          <figcaption>
            Latency <span class="soft">p95</span>
          </figcaption>
          <Chart
            label={`p95: ${props.version} ${ms(canary.p95Ms)}, stable ${ms(baseline.p95Ms)}`}
            curves={curves((one) => one.p95Ms, false)}
            limit={last.limits.p95MaxMs}
            unit="ms"
          />
        </figure>
      </div>
      <section class="table" tabindex={0} aria-label="Canary against stable">
        <table>
          <thead>
            <tr>
              {["", "requests", "errors", "error rate", "p50", "p95", "p99"].map((head, i) => (
                <th scope="col" class={i > 0 ? "num" : ""}>
                  {head || <span class="sr">side</span>}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Row name={props.version} k="k1" side={canary} />
            <Row name="stable" k="" side={baseline} />
          </tbody>
        </table>
      </section>
      <p class="soft">A verdict needs {count(last.limits.minRequests)} requests of the canary.</p>
    </>
  );
};

const Row = ({ name, k, side }: { name: string; k: string; side: Side }) => (
  <tr>
    <th scope="row">
      <span class={`key ${k}`} />
      {name}
    </th>
    <td class="num">{count(side.requests)}</td>
    <td class="num">{count(side.errors)}</td>
    <td class="num">{rate(side)}</td>
    <td class="num">{ms(side.p50Ms)}</td>
    <td class="num">{ms(side.p95Ms)}</td>
    <td class="num">{ms(side.p99Ms)}</td>
  </tr>
);

const rate = ({ requests, errors }: Side) =>
  requests === 0 ? "unknown" : percent(Number(((errors / requests) * 100).toPrecision(2)));
const ms = (value: number | null) => (value === null ? "unknown" : `${count(Math.round(value))} ms`);
