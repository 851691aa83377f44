import { z } from "zod";
import type { MatchRule } from "../../domain/routing/table.ts";
import type { AnalysisSpec, Step, StrategySpec } from "../../domain/spec.ts";
import { parseFreeze, parseWindow } from "../../domain/windows.ts";
import { durationSchema, path, rateSchema, weightSchema } from "./scalars.ts";

/** How an environment releases (`strategy:`), and when it may (`windows:`). */

const BP_PER_PERCENT = 100;
const HALF_HOUR_MS = 1_800_000;
const HOUR_MS = 3_600_000;

/** `2` or `25%` */
const amountSchema = z.union(
  [
    z
      .number()
      .int()
      .min(0)
      .max(100)
      .transform((count) => ({ count })),
    z
      .string()
      .regex(/^\d{1,3}%$/)
      .transform((text) => ({ percent: Number(text.slice(0, -1)) }))
      .refine(({ percent }) => percent <= 100, "must be at most 100%"),
  ],
  { error: "must be a number of instances such as 1, or a percentage such as 25%" },
);

const pairSchema = z.strictObject({ name: z.string().min(1), value: z.string() });
const matchSchema = z
  .array(
    z
      .strictObject({
        header: pairSchema.optional(),
        cookie: pairSchema.optional(),
        countries: z
          .array(z.string().regex(/^[A-Z]{2}$/, "must be a country code such as DE"))
          .min(1)
          .optional(),
        pathPrefix: path.optional(),
      })
      .refine((rule) => Object.keys(rule).length > 0, "must name a header, cookie, countries or pathPrefix"),
  )
  .min(1);

/** A field as a verdict names it: `$.items[].price`, `$.users.{}.role`; with all that lies in it. */
const fieldSchema = z
  .string()
  .max(160)
  .regex(
    /^\$(\.[^.[\]\s]+|\[\])*$/,
    "must be a field as verdicts name it, such as $.version or $.items[].price",
  );

interface MirrorInput {
  readonly weight: number;
  readonly compare?: "json" | undefined;
  readonly ignore?: readonly string[] | undefined;
}
/** `5`, or with what becomes of the answers. */
const mirrorSchema = z.union(
  [
    weightSchema.transform((weight): MirrorInput => ({ weight })),
    z
      .strictObject({
        weight: weightSchema,
        compare: z.enum(["json"], { error: "must be json" }).optional(),
        ignore: z.array(fieldSchema).min(1).max(50).optional(),
      })
      .refine(({ compare, ignore }) => compare || !ignore, {
        path: ["ignore"],
        message: "must stand beside `compare: json`",
      }),
  ],
  { error: "must be a percentage such as 5, or { weight: 5, compare: json }" },
);

const stepSchema = z
  .strictObject({
    weight: weightSchema.optional(),
    bake: durationSchema.optional(),
    match: matchSchema.optional(),
    mirror: mirrorSchema.optional(),
    pause: z.strictObject({ for: durationSchema.optional() }).optional(),
    analysis: z.strictObject({ for: durationSchema.optional() }).optional(),
  })
  .superRefine((step, context) => {
    const kinds = [step.weight, step.pause, step.analysis].filter((kind) => kind !== undefined).length;
    if (kinds !== 1) context.addIssue("must be one of `weight`, `pause` and `analysis`");
    else if (step.weight === undefined && (step.bake ?? step.match ?? step.mirror) !== undefined)
      context.addIssue("must be a `weight` step to have `bake`, `match` or `mirror`");
  });
type StepInput = z.infer<typeof stepSchema>;

function refuseBadOrder(steps: readonly StepInput[], context: z.RefinementCtx): void {
  const weights = steps.flatMap(({ weight }) => (weight === undefined ? [] : [weight]));
  const falls = weights.findIndex((weight, i) => i > 0 && weight <= (weights[i - 1] ?? 0));
  if (falls > 0) context.addIssue(`must rise: weight ${weights[falls]} comes after ${weights[falls - 1]}`);
  if (steps.length > 0 && steps.at(-1)?.weight !== 100) context.addIssue("must end with `weight: 100`");
}

const analysisSchema = z.union(
  [
    z.literal(false),
    z.strictObject({
      mode: z.enum(["act", "report"], { error: "must be act or report" }).default("act"),
      errorRateMax: rateSchema.optional(),
      p95Max: durationSchema.refine((ms) => ms > 0, "must be more than 0ms").optional(),
      warmUp: durationSchema.default(0),
      maxWait: durationSchema.default(HALF_HOUR_MS),
      onInconclusive: z
        .enum(["ask", "promote", "abort"], { error: "must be ask, promote or abort" })
        .default("ask"),
      onFailure: z.enum(["rollback", "pause"], { error: "must be rollback or pause" }).default("rollback"),
    }),
  ],
  { error: "must be false, or limits such as { errorRateMax: 1%, p95Max: 500ms }" },
);

const canarySchema = z.strictObject({
  steps: z.array(stepSchema).min(1).max(50).superRefine(refuseBadOrder).optional(),
  analysis: analysisSchema.optional(),
});
type CanaryInput = z.infer<typeof canarySchema>;

const rollingSchema = z.strictObject({
  maxSurge: amountSchema.default({ count: 1 }),
  maxUnavailable: amountSchema.default({ count: 0 }),
});

/** A name alone stands for the strategy with its defaults. */
export const strategySchema = z.union(
  [
    z.enum(["blue-green", "rolling", "canary"]).transform((name): StrategyInput => {
      if (name === "rolling") return { rolling: rollingSchema.parse({}) };
      return name === "canary" ? { canary: {} } : { "blue-green": null };
    }),
    z.strictObject({ "blue-green": z.strictObject({}).nullable() }),
    z.strictObject({ rolling: rollingSchema }),
    z.strictObject({ canary: canarySchema }),
  ],
  { error: "must be blue-green, rolling or canary" },
);
type StrategyInput =
  | { "blue-green": object | null }
  | { rolling: z.infer<typeof rollingSchema> }
  | { canary: CanaryInput };

export function toStrategy(input: StrategyInput): StrategySpec {
  if ("rolling" in input) return { kind: "rolling", ...input.rolling };
  if ("canary" in input)
    return { kind: "canary", steps: toSteps(input.canary.steps), analysis: toAnalysis(input.canary) };
  return { kind: "blue-green" };
}

/** 10 % for 15 minutes, 50 % for 5, then all. */
const DEFAULT_STEPS: readonly Step[] = [
  { kind: "weight", weightBp: 1_000, bakeMs: 900_000, match: null, mirrorBp: 0 },
  { kind: "weight", weightBp: 5_000, bakeMs: 300_000, match: null, mirrorBp: 0 },
  { kind: "weight", weightBp: 10_000, bakeMs: 0, match: null, mirrorBp: 0 },
];

/** `match` and `mirror` hold from their step on. */
function toSteps(steps: CanaryInput["steps"]): readonly Step[] {
  if (!steps) return DEFAULT_STEPS;
  let match: readonly MatchRule[] | null = null;
  let mirror: StepInput["mirror"];
  return steps.map((step): Step => {
    if (step.pause) return { kind: "pause", forMs: step.pause.for ?? null };
    if (step.analysis) return { kind: "analysis", forMs: step.analysis.for ?? HALF_HOUR_MS };
    match = step.match?.map(toRule) ?? match;
    mirror = step.mirror ?? mirror;
    const mirrorBp = Math.round((mirror?.weight ?? 0) * BP_PER_PERCENT);
    const weightBp = Math.round((step.weight ?? 0) * BP_PER_PERCENT);
    const compare = {
      ...(mirror?.compare && { compare: mirror.compare }),
      ...(mirror?.ignore && { ignore: mirror.ignore }),
    };
    return { kind: "weight", weightBp, bakeMs: step.bake ?? 0, match, mirrorBp, ...compare };
  });
}

const toRule = ({
  header,
  cookie,
  countries,
  pathPrefix,
}: z.infer<typeof matchSchema>[number]): MatchRule => ({
  ...(header ? { header } : {}),
  ...(cookie ? { cookie } : {}),
  ...(countries ? { countries } : {}),
  ...(pathPrefix === undefined ? {} : { pathPrefix }),
});

const OFF: AnalysisSpec = {
  enabled: false,
  warmUpMs: 0,
  onInconclusive: "ask",
  onFailure: "rollback",
  maxWaitMs: 0,
};

function toAnalysis({ analysis }: CanaryInput): AnalysisSpec {
  const given = analysis ?? analysisSchema.parse({});
  if (given === false) return OFF;
  const { mode, errorRateMax, p95Max, warmUp, maxWait, onInconclusive, onFailure } = given;
  return {
    enabled: true,
    ...(mode === "report" ? { mode } : {}),
    ...(errorRateMax === undefined ? {} : { errorRateMax }),
    ...(p95Max === undefined ? {} : { p95MaxMs: p95Max }),
    warmUpMs: warmUp,
    onInconclusive,
    onFailure,
    maxWaitMs: maxWait,
  };
}

/** The whole release's own deadline leaves room for its steps and for what they may wait for. */
export function longestMs(strategy: StrategySpec): number {
  if (strategy.kind !== "canary") return HOUR_MS;
  const { steps, analysis } = strategy;
  const longest = steps.map((step) => {
    if (step.kind === "weight") return step.bakeMs + analysis.maxWaitMs;
    return step.forMs ?? 0;
  });
  return HOUR_MS + longest.reduce((sum, ms) => sum + ms, 0);
}

type Parse<T> = (text: string) => { ok: true; value: T } | { ok: false; error: string };
/** One text or a list of them, each parsed; what is wrong with one is said at its own place. */
const textOf = <T>(parse: Parse<T>) =>
  z
    .union([z.string(), z.array(z.string())], { error: "must be a text or a list of texts" })
    .transform((given, context) =>
      [given].flat().flatMap((text, i) => {
        const parsed = parse(text);
        if (parsed.ok) return [parsed.value];
        const path = typeof given === "string" ? [] : [i];
        context.addIssue({ code: "custom", message: `is wrong: ${parsed.error}`, path });
        return [];
      }),
    );

export const windowsSchema = z.strictObject({
  allow: textOf(parseWindow).default([]),
  freeze: textOf(parseFreeze).default([]),
});
