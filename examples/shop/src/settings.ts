export type SchemaStep = 1 | 2 | 3;

const { env } = process;

/** Read once; a wrong value ends the program before it answers anything. */
export const settings = {
  port: numberOf("PORT", 3000, 65_535),
  version: env.SLUICE_VERSION ?? "dev",
  instance: env.SLUICE_INSTANCE ?? "",
  /** Which of the three versions this is. The build writes it into the bundle: it is not for the host to choose. */
  step: stepOf(process.env.SCHEMA_STEP ?? "3"),
  databaseUrl: urlOf("DATABASE_URL", "postgresql://shop:secret@db.internal:5432/shop"),
  redisUrl: urlOf("REDIS_URL", "redis://redis.internal:6379"),
  /** Share of requests (0–1) answered 500, so that a release can be made to go wrong on purpose. */
  errorRate: numberOf("ERROR_RATE", 0, 1),
  /** Added to each answer. */
  latencyMs: numberOf("LATENCY_MS", 0, 60_000),
};

function stepOf(text: string): SchemaStep {
  const step = Number(text);
  if (step === 1 || step === 2 || step === 3) return step;
  throw new Error(`SCHEMA_STEP is ${text}: build with 1, 2 or 3`);
}

function numberOf(name: string, fallback: number, max: number): number {
  const text = env[name] ?? "";
  const value = text === "" ? fallback : Number(text);
  if (value >= 0 && value <= max) return value;
  throw new Error(`${name} is ${text}: set a number from 0 to ${max}`);
}

function urlOf(name: string, example: string): string {
  const text = env[name] ?? "";
  // The value may hold a password: it is never part of the message.
  if (!URL.canParse(text))
    throw new Error(`${name} is missing or no URL: set it to something like ${example}`);
  return text;
}
