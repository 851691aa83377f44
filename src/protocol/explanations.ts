import type { ProblemCode } from "./problem.ts";

/** What each problem means and what to do: the words of `sluice explain` and of the API's page. */
export const PROBLEM_EXPLANATIONS = {
  invalid_request: [
    "The request was not understood: a field is missing, unknown or out of range.",
    "The error names the field. If it came from this CLI, control and CLI are too far apart: upgrade the older one.",
  ],
  manifest_invalid: [
    "sluice.yaml has a key that doesn't exist, stands twice, or has a wrong value.",
    "Each error names file, line and column. Correct it; `sluice apply --dry-run` checks without changing anything.",
  ],
  not_landed: [
    "The manifest uses a feature that this version of Sluice doesn't have. It is refused, because ignoring it would look applied.",
    "Remove the key, or upgrade the control plane.",
  ],
  https_required: [
    "Control was asked over plain http, and answers that on its own machine only.",
    "Begin SLUICE_URL with https. A token that was sent in clear may be known to others: revoke it and make a new one.",
  ],
  unauthenticated: [
    "The token is missing or unknown to this control plane.",
    "Check SLUICE_TOKEN and that it belongs to SLUICE_URL. An admin makes a new one: sluice token create <name> --role deployer",
  ],
  token_expired: [
    "The token's time is over.",
    "An admin makes a new one: sluice token create <name> --role <role>",
  ],
  token_revoked: [
    "Somebody revoked the token; `sluice audit` says who.",
    "An admin makes a new one, if it should work again.",
  ],
  oidc_refused: [
    "The CI system's own token was not traded for one of control's: it is not meant for this control plane, has expired, was used already, or fits no trust.",
    "The error names the claim. `sluice trust list` shows what is trusted; `sluice trust explain -` compares a token with every trust.",
  ],
  forbidden: [
    "The token is good, but not for this: its role, app or environment doesn't cover it.",
    "Use a token with the role and scope the error names. Roles: viewer reads, approver steers what is on its way, deployer releases, admin does all.",
  ],
  not_found: [
    "There is no such app, environment, release, host or token here.",
    "Look with `sluice status --all`. A new app is made by `sluice apply`.",
  ],
  method_not_allowed: [
    "The address is right, but not for this kind of request.",
    "CLI and control are too far apart: upgrade the older one.",
  ],
  conflict: [
    "The thing is in a state that doesn't allow this, or its name is taken.",
    "Look at it first (`sluice status`), then decide.",
  ],
  hostname_taken: [
    "A hostname of the manifest belongs to another app or environment, and one hostname has one owner.",
    "Choose another hostname, or take it out of the other manifest and apply that first.",
  ],
  hostname_not_granted: [
    "The manifest names a hostname that no administrator granted to this app.",
    "An admin allows it (`sluice hostnames allow <name or *.name>`), or applies the manifest themselves: that grants what it names.",
  ],
  hostname_reserved: [
    "The hostname is control's own, one of the slots', or a single label: no app may have it, whoever asks.",
    "Choose another hostname.",
  ],
  release_in_progress: [
    "Another release of this environment is on its way and `--when-busy reject` was asked for.",
    "Wait for it (`sluice watch`), stop it (`sluice abort`), or deploy with --when-busy queue or supersede.",
  ],
  locked: [
    "A person or a release holds the environment's lock; the error says who and why.",
    "Ask the holder, or end it: sluice unlock. A lock whose holder is gone expires by itself.",
  ],
  stale_step: [
    "The release has moved on since you looked, so the order was for a step that is over.",
    "Look again with `sluice status`, then repeat if you still mean it.",
  ],
  approval_needed: [
    "The environment's `approval:` asks that somebody else approves the release before it goes on.",
    "An approver who did not start it: sluice approve, or sluice reject. See docs/approvals.md.",
  ],
  own_release: [
    "Who started a release can't approve it, also not with another token of theirs.",
    "Somebody else approves it. Whose a token is, is said when it is made: sluice token create <name> --person <email>.",
  ],
  window_closed: [
    "The environment's `windows:` let no release begin now; the error says when the next one may.",
    "Wait for it; in an emergency: sluice deploy --override, which the audit log keeps.",
  ],
  precondition_failed: [
    "Something changed between looking and ordering (If-Match), so nothing was done.",
    "Look again with `sluice status`, then repeat if you still mean it.",
  ],
  idempotency_conflict: [
    "This Idempotency-Key was used before with another request. In CI the key is made from the run and what is asked.",
    "Run the job again as a new attempt, or send another key.",
  ],
  idempotency_in_flight: [
    "The same request is being worked on right now.",
    "Wait a moment and repeat it: the answer will be the first one's.",
  ],
  weights_invalid: [
    "Weights are percentages with at most two decimals, and the whole split sums to 100.",
    "Give the whole split: sluice weight v43=25 v42=75",
  ],
  release_not_serving: [
    "The named release has no ready instance, so traffic sent to it would fail.",
    "Choose one that `sluice status` lists, or bring it back with `sluice rollback --to <version>`.",
  ],
  no_hosts: [
    "No online host carries the labels the environment asks for.",
    "`sluice hosts` shows who is there. Start the agent, enrol a host, or change `hosts:` in the manifest.",
  ],
  no_slots: [
    "The matching hosts have too few free slots. Both releases run side by side, so a deploy needs `replicas` free ones.",
    "Wait until kept instances are gone (`keep`), enrol a host, or enrol with more --slots.",
  ],
  rollback_impossible: [
    "The release to go back to can't be used any more; the error says why.",
    "Deploy a good image instead: sluice deploy --image <ref>",
  ],
  nothing_to_roll_back: [
    "No earlier release has served all traffic here.",
    "Deploy a good image instead: sluice deploy --image <ref>",
  ],
  enrollment_invalid: [
    "The enrolment token is unknown, used or expired; it works once, for a limited time.",
    "Make a new one: sluice hosts enroll <name>",
  ],
  lease_lost: [
    "An agent reported on a job that is no longer its own.",
    "Nothing to do: the agent drops it. If it repeats, look at the host's clock and network.",
  ],
  protocol_unsupported: [
    "Agent and control speak different versions.",
    "Upgrade the older one. Running instances are not touched.",
  ],
  host_busy: [
    "What runs on the host would be lost with it, or has nowhere else to go.",
    "`sluice hosts drain <host>` moves it to other hosts first; enrol one, or free slots, where there is no room. `--force` where the machine is gone.",
  ],
  secrets_missing: [
    "The manifest names secrets that have no value in this environment, so the app would start without them.",
    "Set each with `sluice secrets set NAME`; the value is read from stdin or a prompt, never from the command line.",
  ],
  not_configured: [
    "What was asked for needs something that this control plane was set up without, such as Cloudflare or a key for secrets.",
    "The error names it. `sluice setup` brings an installation up to date; run again, it changes only what is missing.",
  ],
  cloudflare_refused: [
    "Cloudflare's API refused a call that control or `sluice setup` made for you; its own words are in the error.",
    "A missing permission is named: add it to the API token. Control tries again by itself; setup and teardown go on where they stopped when they are run again.",
  ],
  body_too_large: [
    "The request is larger than the API takes.",
    "A manifest is a few kilobytes: check what was sent.",
  ],
  rate_limited: [
    "Too many requests with this token.",
    "Wait as long as Retry-After says; the CLI does so for short waits.",
  ],
  unavailable: [
    "The control plane can't do it at the moment. The edge goes on serving the apps without it.",
    "Repeat in a moment. A deploy in CI is safe to repeat: it joins the release it may have started.",
  ],
  internal: [
    "A fault in the control plane, not in your request. The edge goes on serving the apps.",
    "Look with `sluice status` before repeating. Report it with the request id.",
  ],
} as const satisfies Record<ProblemCode, readonly [meaning: string, advice: string]>;
