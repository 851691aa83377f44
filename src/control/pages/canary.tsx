import { z } from "zod";
import { howToIgnore } from "../../domain/canary/index.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import type { VerdictView } from "../../protocol/api/verdicts.ts";
import { Chart, type Curve, wilson } from "./chart.tsx";
import { Ago, count, Name, percent, State, Table, type Tone } from "./pieces.tsx";

const sideSchema = z.object({
  requests: z.number(),
  errors: z.number(),
  p50Ms: z.number().nullable(),
  p95Ms: z.number().nullable(),
  p99Ms: z.number().nullable(),
});
const routeSchema = z.object({ requests: z.number(), errors: z.number() });
const culpritSchema = z.object({
  route: z.string(),
  host: z.string().nullable(),
  canary: routeSchema,
  baseline: routeSchema,
});
const differingSchema = z.object({
  named: z.array(
    z.object({
      route: z.string(),
      field: z.string(),
      answers: z.number(),
      canary: z.number(),
      stable: z.number(),
    }),
  ),
  more: z.number(),
});
const numbersSchema = z.object({
  /** Of before routes were counted: none. */
  culprits: z.array(culpritSchema).default([]),
  answersCompared: z.number().default(0),
  differing: differingSchema.optional(),
  synthetic: z.object({ canary: z.number(), baseline: z.number(), isJudged: z.boolean() }).optional(),
  rollout: z.object({ canary: sideSchema, baseline: sideSchema }),
  limits: z.object({
    errorRateMax: z.number(),
    p95MaxMs: z.number().nullable(),
    minRequests: z.number(),
  }),
});
type Side = z.infer<typeof sideSchema>;

type Numbers = z.infer<typeof numbersSchema>;
type Culprit = z.infer<typeof culpritSchema>;

const WORDS: Partial<Record<string, readonly [Tone, string]>> = {
  rollback: ["bad", "worse than stable"],
  hold: ["warn", "stable itself fails"],
  pass: ["ok", "no worse than stable"],
};

interface Comparison {
  readonly release: ReleaseView;
  /** Newest first. */
  readonly verdicts: readonly VerdictView[];
  readonly now: number;
  /** Only what is compared now, not how it was before its switch. */
  readonly isNowOnly?: boolean;
}

/** How a release compares: with stable while both serve, and after its switch with what served before. */
export const Compared = ({
  release: { version, servingAt, strategy },
  verdicts,
  now,
  isNowOnly,
}: Comparison) => {
  const isAfter = ({ window }: VerdictView) => servingAt !== null && window >= servingAt;
  const [last] = verdicts.filter(isAfter);
  const beside = verdicts.filter((verdict) => !isAfter(verdict));
  const isCanary =
    servingAt === null ? strategy === "canary" || beside.length > 0 : beside.length > 0 && !isNowOnly;
  return (
    <>
      {last && (
        <>
          <h2>{version} against what served before it</h2>
          <Verdict verdict={last} now={now} />
          <Culprits version={version} culprits={numbersSchema.safeParse(last.numbers).data?.culprits ?? []} />
        </>
      )}
      {isCanary && (
        <>
          <h2>{version} against stable</h2>
          <Canary version={version} verdicts={beside} now={now} />
        </>
      )}
    </>
  );
};

/** The canary against stable in the same units, as of each judgement since it began. `verdicts`: newest first. */
const Canary = (props: { version: string; verdicts: readonly VerdictView[]; now: number }) => {
  const judged = props.verdicts.flatMap((verdict) => {
    // Numbers of a version that wrote them otherwise are left out: the words stand by themselves.
    const numbers = numbersSchema.safeParse(verdict.numbers);
    return numbers.success ? [{ ...numbers.data, at: Date.parse(verdict.at), verdict }] : [];
  });
  const [last] = judged;
  if (!last) return <p class="card none">Not enough traffic yet: nothing was judged so far.</p>;
  return (
    <>
      <Verdict verdict={last.verdict} now={props.now} />
      <Culprits version={props.version} culprits={last.culprits} />
      <Answers version={props.version} numbers={last} />
      <Curves version={props.version} judged={judged} last={last} />
      <Sides version={props.version} canary={last.rollout.canary} baseline={last.rollout.baseline} />
      <p class="soft">
        A verdict needs {count(last.limits.minRequests)} requests of the canary.
        {last.synthetic && <> {syntheticWords(last.synthetic, props.version)}</>}
      </p>
    </>
  );
};

interface Judged extends z.infer<typeof numbersSchema> {
  readonly at: number;
  readonly verdict: VerdictView;
}

/** Error rate and latency of both over time. `judged`: newest first, `last` its first. */
const Curves = (props: { version: string; judged: readonly Judged[]; last: Judged }) => {
  const { version, judged, last } = props;
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
    <div class="grid">
      <figure class="card">
        <figcaption>
          Error rate <span class="soft">with its 95 % interval</span>
        </figcaption>
        <Chart
          label={`Error rate: ${version} ${rate(canary)}, stable ${rate(baseline)}, limit ${percent(last.limits.errorRateMax * 100)}`}
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
          label={`p95: ${version} ${ms(canary.p95Ms)}, stable ${ms(baseline.p95Ms)}`}
          curves={curves((one) => one.p95Ms, false)}
          limit={last.limits.p95MaxMs}
          unit="ms"
        />
      </figure>
    </div>
  );
};

/** Both in the same units, as last judged. */
const Sides = ({ version, canary, baseline }: { version: string; canary: Side; baseline: Side }) => (
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
        <Row name={version} k="k1" side={canary} />
        <Row name="stable" k="" side={baseline} />
      </tbody>
    </table>
  </section>
);

const Verdict = ({ verdict: { verdict, reason, words, at }, now }: { verdict: VerdictView; now: number }) => {
  const isEarly = verdict === "continue" && reason === "low-traffic";
  const [tone, word] = isEarly
    ? (["idle", "not enough traffic yet"] as const)
    : (WORDS[verdict] ?? (["moving", "not proven yet"] as const));
  return (
    <p class="verdict">
      <State tone={tone}>{word}</State> · <Name>{briefly(words).replace(SAID_BEFORE, "")}</Name>{" "}
      <span class="soft">
        <Ago at={at} now={now} />
      </span>
    </p>
  );
};

/** What the state's own word says already. */
const SAID_BEFORE = /^(?:not proven yet|not enough data yet): |: no worse than stable$/;

/** Without the answers that differ, which are on the release's page as a table. */
export const briefly = (words: string): string => words.replace(TABLED, "");

const TABLED = /; [^;]* answers otherwise than stable: .*$/;

/** The routes it fails on more than what it is compared with, the likeliest first. */
const Culprits = ({ version, culprits }: { version: string; culprits: readonly Culprit[] }) => {
  if (culprits.length === 0) return null;
  const heads = ["route", "where", `failed on ${version}`, "failed on stable"];
  return (
    <Table label="Routes that fail more" stacks heads={heads}>
      {culprits.map(({ route, host, canary, baseline }) => (
        <tr>
          <th scope="row" class="long">
            <Name>{route}</Name>
          </th>
          <td>{host ? `${host} only` : "no single host"}</td>
          <td data-label={`on ${version}`}>{failed(canary)}</td>
          <td data-label="on stable">{failed(baseline)}</td>
        </tr>
      ))}
    </Table>
  );
};

const failed = ({ requests, errors }: Culprit["canary"]) => `${count(errors)} of ${count(requests)}`;

/** Whether mirrored requests are answered as stable answers them; nothing is done by it. */
const Answers = ({ version, numbers }: { version: string; numbers: Numbers }) => {
  const { answersCompared, differing } = numbers;
  if (answersCompared === 0) return null;
  const compared = `${count(answersCompared)} mirrored answers compared`;
  if (!differing)
    return (
      <p class="soft">
        {compared}: no field is different for {version} alone so far.
      </p>
    );
  const hint = howToIgnore(differing.named);
  return (
    <>
      <Table
        label="Answers that differ"
        stacks
        heads={["route", "field", `${version} from stable`, "stable from itself"]}
      >
        {differing.named.map(({ route, field, answers, canary, stable }) => (
          <tr>
            <th scope="row" class="long">
              <Name>{route}</Name>
            </th>
            <td>
              <Name>{field}</Name>
            </td>
            <td>
              differs in {count(canary)} of {count(answers)}
            </td>
            <td data-label="stable from itself">in {count(stable)}</td>
          </tr>
        ))}
      </Table>
      <p class="soft">
        {compared}
        {differing.more > 0 ? `; ${count(differing.more)} more fields differ` : ""}. Told, and nothing is done
        by it{hint && <>; {hint}</>}.
      </p>
    </>
  );
};

function syntheticWords(asked: NonNullable<Numbers["synthetic"]>, version: string): string {
  const { canary, baseline, isJudged } = asked;
  const counts = `${count(canary)} of ${version} and ${count(baseline)} of stable`;
  return isJudged
    ? `Of the requests above, control made ${counts} itself (load).`
    : `Besides, control made ${counts} itself (load); they are not judged.`;
}

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
