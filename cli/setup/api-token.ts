import { ask } from "../io/confirm.ts";
import { CliError } from "../io/problem.ts";
import type { Session } from "../session.ts";
import { type Extras, needsOf, permissionLines } from "./permissions.ts";
import { newToken } from "./probes.ts";

/** Cloudflare's API token: from the environment, else typed unseen. Never an argument, which others could see. */
export async function apiToken(session: Session, extras: Extras, name: string): Promise<string> {
  const given = session.env.CLOUDFLARE_API_TOKEN?.trim();
  if (given) return given;
  const needs = needsOf("setup", extras);
  const canAsk = session.stdin.isTTY && session.out.mode === "off" && !session.env.CI;
  if (canAsk) {
    session.out.say(
      "Sluice needs an API token of Cloudflare, for the account and the zone, with these permissions:",
    );
    for (const line of permissionLines(needs)) session.out.say(`  ${line}`);
    for (const { command, when } of newToken(needs, name)) session.out.say(`  ${command}\n    ${when}`);
    const typed = (await ask(session, "API token (not shown): ", true)).trim();
    if (typed) return typed;
  }
  throw new CliError(
    "unauthenticated",
    `no API token of Cloudflare: set CLOUDFLARE_API_TOKEN to one with these permissions:\n${permissionLines(needs).join("\n")}`,
    { title: "no API token", next: newToken(needs, name) },
  );
}

/** The narrower token that control is to have, if one was named. */
export function controlToken(session: Session, variable: string | undefined): string | undefined {
  if (variable === undefined) return undefined;
  const given = session.env[variable]?.trim();
  if (given) return given;
  throw new CliError("usage", `--control-token-env names ${variable}, and that variable is not set`);
}
