import type { ProblemCode } from "../src/protocol/problem.ts";
import type { CliCode } from "./io/problem.ts";

/** `sluice explain`: what each code means and what to do, without a network. */
export const EXPLANATIONS = {
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
    "Set SLUICE_URL to https://…. A token that was sent in clear may be known to others: revoke it and make a new one.",
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
  usage: ["The command line isn't one this CLI understands.", "`sluice <command> -h` shows examples."],
  no_config: [
    "The CLI doesn't know the control plane's address, or has no token for it.",
    "Set SLUICE_URL and SLUICE_TOKEN; or let `npm start` write .sluice/cli.json; or put {url, token} into ~/.config/sluice/cli.json.",
  ],
  no_manifest: [
    "The command needs an app: no sluice.yaml here or above, and no -a.",
    "Go to the app's folder, name the file with -f, or name the app with -a (and -e).",
  ],
  confirmation_required: [
    "The command destroys something and nobody is at the terminal to confirm it.",
    "Add --yes if it is meant.",
  ],
  declined: ["The question was not answered with yes.", "Nothing was changed."],
  not_sluice: [
    "What answers at the address isn't Sluice's API, or speaks another version of it.",
    "Check SLUICE_URL: the control plane's own address, not the app's.",
  ],
  value_required: [
    "A secret or password was asked for, and none came: stdin was empty, or nobody was at a terminal to type it.",
    'Pipe it in (`printf %s "$VALUE" | sluice secrets set NAME`), or run the command at a terminal. It is never an argument.',
  ],
  state_changed: [
    "The split changed between looking and setting, so nothing was set.",
    "Look again with `sluice status`, then repeat if you still mean it.",
  ],
  requirement_unmet: [
    "Something that the manifest's `requires` asks for is not so: the branch, a clean tree, the remote's commit, or the tests. Nothing was built or released.",
    "Mend what it names. `sluice ship --from build` leaves the requirements out, and says so in the log.",
  ],
  docker_unavailable: [
    "`sluice ship` builds and pushes with this machine's own docker, and that is not there or has no engine.",
    "Install or start it; `docker version` shows both of its halves.",
  ],
  build_failed: [
    "docker did not build the image. Nothing was pushed or released.",
    "The last lines that docker said stand above. `sluice ship --dry-run` prints the command, to be run by hand.",
  ],
  push_failed: [
    "The image was built, and its registry didn't take it. Nothing was released.",
    "Log in (`docker login <registry>`) as somebody who may push, then go on: sluice ship --from push",
  ],
  disk_full: [
    "The disk that docker keeps images on is full: this machine's, or that of the host that is named. Nothing was released.",
    "`docker system df` there says what takes the room, `docker builder prune` frees the build's cache; `sluice hosts show <host>` says how much a host has left.",
  ],
  no_contact: [
    "The control plane can't be reached. The edge goes on serving the apps without it.",
    "Check the address and the network. A release that was started goes on: sluice watch",
  ],
  timeout: [
    "No answer, or no end, within the time allowed. What was started goes on.",
    "`sluice status` and `sluice watch` say how it stands; --timeout waits longer.",
  ],
  interrupted: [
    "Ctrl-C: the CLI detached. A release is control's, and goes on.",
    "sluice watch; or sluice abort to stop it",
  ],
  crash: [
    "A bug in this CLI.",
    "Report it with the text above. A release that was started goes on: sluice status",
  ],
} as const satisfies Record<ProblemCode | CliCode, readonly [meaning: string, advice: string]>;
