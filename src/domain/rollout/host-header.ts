import type { InstanceFacts } from "./facts.ts";

/** Its slot's rule is still to be written at Cloudflare. */
export const isRuleOwed = ({ rule }: Pick<InstanceFacts, "rule">): boolean =>
  rule != null && rule.publicHost !== null && rule.version === null;

/**
 * Why an instance may not be asked as its app yet, in words: its tunnel would still give it the slot's name as `Host`, or that of
 * the app which had the slot before. Null: it may. An agent that can't tell what cloudflared runs is believed.
 */
export function whyNotNamed({ rule, hostName }: Pick<InstanceFacts, "rule" | "hostName">): string | null {
  if (rule == null || rule.publicHost === null) return null;
  const { publicHost, version, running } = rule;
  if (version === null)
    return `the tunnel of ${hostName} is being told that this slot is ${publicHost}: \`sluice hosts show ${hostName}\` says what is in the way`;
  if (running === null || running >= version) return null;
  return `Cloudflare has not yet told the tunnel of ${hostName} that this slot is ${publicHost} (it runs ingress rules ${running}, control wrote ${version})`;
}
