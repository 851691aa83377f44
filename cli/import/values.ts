import { parseArgsStringToArgv } from "string-argv";
import { type Ledger, recordOf, textOf, textsOf } from "./ledger.ts";

/** What the files that are taken over have in common: variables, commands, durations, sizes, names. */

/** A manifest as it is to be written: plain values, in the order in which people read them. */
export type Draft = Record<string, unknown>;

const SECRET =
  /PASS(WORD|WD|PHRASE)?$|SECRET|TOKEN|PRIVATE|CREDENTIAL|(^|_)KEY($|_BASE$)|_KEY$|DSN$|^DATABASE_URL$|_DATABASE_URL$/i;

export interface Variables {
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
}

/** A list of NAME=value or a map; null stands for whatever the variable is where the file is read. */
export function variablesOf(value: unknown, key: string, ledger: Ledger): Variables {
  const env: Record<string, string> = {};
  const secrets: string[] = [];
  for (const [name, given] of pairsOf(value)) {
    const at = `${key}.${name}`;
    if (name === "PORT") ledger.note("needless", at, "Sluice sets PORT from `port`");
    else if (SECRET.test(name)) {
      secrets.push(name);
      ledger.note("todo", at, `a secret, and none is written into a file: sluice secrets set ${name}`);
    } else {
      env[name] = given === null ? `\${${name}}` : variablesIn(given);
      ledger.note(
        "taken",
        at,
        given === null ? `env.${name}, filled in when the manifest is applied` : `env.${name}`,
      );
    }
  }
  return { env, secrets };
}

/** `$NAME` and `${NAME-x}` of compose, as the manifest has them. */
const variablesIn = (text: string): string =>
  text.replace(/\$\$|\$\{(\w+):?-([^}]*)\}|\$\{(\w+)[^}]*\}|\$(\w+)/g, (found, a, fallback, b, c) => {
    if (found === "$$") return "$$";
    return a === undefined ? `\${${b ?? c}}` : `\${${a}:-${fallback}}`;
  });

function pairsOf(value: unknown): [string, string | null][] {
  if (!Array.isArray(value))
    return Object.entries(recordOf(value)).map(([name, given]) => [name, textOf(given) ?? null]);
  return textsOf(value).map((line) => {
    const at = line.indexOf("=");
    return at < 0 ? [line, null] : [line.slice(0, at), line.slice(at + 1)];
  });
}

/** A command as a list: a text is parted as shells part words, without one reading it. */
export function commandOf(value: unknown): string[] | undefined {
  if (Array.isArray(value)) return [...textsOf(value)];
  const text = textOf(value);
  if (text === undefined || text.trim() === "") return undefined;
  return /[|&;<>`$]/.test(text) ? ["sh", "-c", text] : parseArgsStringToArgv(text);
}

/** Go's `1m30s`, and seconds as a number → `90s`. */
export function durationOf(value: unknown): string | undefined {
  if (typeof value === "number") return `${value}s`;
  const text = textOf(value) ?? "";
  if (/^\d+$/.test(text)) return `${text}s`;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)];
  if (parts.length === 0) return undefined;
  if (parts.length === 1) return parts[0]?.[0];
  const unit = { h: 3_600, m: 60, s: 1, ms: 0.001 } as const;
  return `${parts.reduce((sum, [, n, u]) => sum + Number(n) * unit[u as keyof typeof unit], 0)}s`;
}

/** `512M`, `1gb`, `1Gi`, bytes → a size of the manifest. */
export function sizeOf(value: unknown): string | undefined {
  const text = (textOf(value) ?? "").trim().toLowerCase();
  const [, amount, unit = "b"] = /^(\d+(?:\.\d+)?)\s*(b|k|m|g)?i?b?$/.exec(text) ?? [];
  return amount === undefined ? undefined : `${amount}${unit}`;
}

/** What the manifest takes for an app's or accessory's name. */
export const nameOf = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40) || "app";

export const withoutTag = (image: string): string => image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");

/** Drops what is undefined or has nothing in it. */
export function compact(draft: Draft): Draft {
  const entries = Object.entries(draft).filter(([, value]) => {
    if (value === undefined || value === null) return false;
    return typeof value === "object" ? Object.keys(value).length > 0 : true;
  });
  return Object.fromEntries(entries);
}

export const PLACEHOLDER_HOSTNAME = "CHANGE-ME.example.com";

/** A duration that a key of the file says, with its note; undefined: it says none. */
export function takenDuration(
  ledger: Ledger,
  { value, key, became }: { value: unknown; key: string; became: string },
): string | undefined {
  if (value === undefined) return undefined;
  ledger.note("taken", key, became);
  return durationOf(value);
}
