import { isLooser } from "../../domain/approval/looser.ts";
import type { Manifest } from "../../protocol/manifest/manifest.ts";
import { toSpec } from "../../protocol/manifest/spec.ts";
import type { Refusal } from "../refusal.ts";
import type { AppState, EnvironmentRow } from "../store/apps.ts";
import type { Leave } from "./grants.ts";

/**
 * Whoever an approval is asked of can't take that away, nor lead its visitors to where nobody is asked: only an administrator of
 * everything can. An environment that was left out for a while comes back with its rule.
 */
export function looserApproval(
  { app, environments, owners }: AppState,
  manifest: Manifest,
  { grants }: Leave,
): Refusal | undefined {
  if (grants) return undefined;
  const heirs = ({ id, name }: EnvironmentRow): string[] => {
    const own = owners.filter(({ environmentId }) => environmentId === id).map(({ hostname }) => hostname);
    const takers = Object.entries(manifest.environments).filter(([, { hostnames }]) =>
      hostnames.some((hostname) => own.includes(hostname)),
    );
    return [...new Set([name, ...takers.map(([taker]) => taker)])];
  };
  for (const row of environments)
    for (const name of heirs(row)) {
      const next = toSpec(manifest, name);
      if (next === undefined || !isLooser(next, row.spec)) continue;
      const to = name === row.name ? "" : `: its visitors would go to ${name}, which asks for less`;
      const detail = `the manifest loosens \`approval\` of ${app?.name}/${row.name}${to}. This needs a token with the role admin for everything`;
      return { code: "forbidden", detail };
    }
  return undefined;
}
