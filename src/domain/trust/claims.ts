export type Provider = "github" | "gitlab" | "buildkite" | "circleci" | "forgejo";
export type Claims = Readonly<Record<string, unknown>>;

/** A claim's value as text; null: there is none, or none that could be compared. */
export function stringOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : null;
}
