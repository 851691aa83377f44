import type { Job } from "../../src/protocol/agent/jobs.ts";

interface Owner {
  readonly app: string;
  readonly environment: string;
}

/** Whose values, in the words of {@link Secrets}. */
export const scopeOf = ({ app, environment }: Owner): string => `${app}/${environment}`;

/** Whose values a job is about. A pull knows only its environment's id. */
export function scopeOfJob(job: Job): string {
  if ("spec" in job) return scopeOf(job.spec);
  return "app" in job ? scopeOf(job) : job.environmentId;
}

/** The values a job brings: of the variables that are secrets by their names, and of its registry login. */
export function valuesOf(job: Job, names: readonly string[] | undefined): string[] {
  const env = "spec" in job ? job.spec.env : "env" in job ? job.env : {};
  const login = "login" in job && job.login ? [job.login.password] : [];
  return [...secretsAmong(env, names), ...login];
}

/** Without names, from a control or a journal of before, those are taken that look like it. */
export function secretsAmong(
  env: Readonly<Record<string, string>>,
  names: readonly string[] | undefined,
): string[] {
  const isSecret = (name: string) => (names ? names.includes(name) : LOOKS_SECRET.test(name));
  return Object.entries(env).flatMap(([name, value]) => (isSecret(name) ? [value] : []));
}

const LOOKS_SECRET = /SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|KEY$|_URL$|_URI$|DSN$/i;
