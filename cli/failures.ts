import type { JobError } from "../src/protocol/agent/job-results.ts";

type FailureCode =
  | Exclude<JobError["code"], "internal" | "secrets_missing" | "disk_full">
  | "aborted"
  | "analysis_failed"
  | "analysis_inconclusive"
  | "host_removed"
  | "host_silent"
  | "image_differs"
  | "instances_lost"
  | "look_failed"
  | "not_approved"
  | "rejected"
  | "rolled_back"
  | "slots_needed"
  | "smoke_failed"
  | "unreachable"
  | "worker_failed"
  | "worker_unhealthy";

/** `sluice explain`: why a release, an instance or an accessory failed. The message beside the code has the values. */
export const FAILURES = {
  image_not_found: [
    "A registry was asked and has no such image, or hides it from who doesn't log in.",
    "Check name and tag; for a private one, give its login: `sluice registry set <registry>`",
  ],
  image_unauthorized: [
    "The registry wants a login, or the one that is known is refused.",
    "Set it anew: `sluice registry set <registry>`",
  ],
  image_pull_failed: [
    "The host began to pull the image and did not get it whole.",
    "The message has the engine's words: the network, the registry, or a name it can't resolve. Deploy again once it is mended.",
  ],
  image_differs: [
    "A tag meant two different images on two hosts, so none was started.",
    "Push once and deploy by digest, or deploy again once the registry's mirrors agree.",
  ],
  signature_refused: [
    "The manifest's `verify:` asks for a signature that the image doesn't have, or that could not be looked at.",
    "Sign it in the workflow that builds it; `mode: warn` says so without refusing. See docs/security.md.",
  ],
  policy_refused: [
    "The host's own policy file does not allow it; control can't change that.",
    "The message names the rule. Whoever runs the host changes /etc/sluice/policy.yaml, or the manifest asks for less.",
  ],
  runtime_unavailable: [
    "The host's Docker engine does not answer its agent.",
    "On the host: systemctl status docker. The agent goes on by itself when it is back.",
  ],
  port_in_use: [
    "Another process of the host has the slot's port.",
    "The slot is set aside for an hour and another is taken where one is free. `sluice hosts show <host>` names the port.",
  ],
  start_failed: [
    "The engine could not start the container; its words are in the message.",
    "Most often the command or entrypoint does not exist in the image, or is for another kind of machine.",
  ],
  exited: [
    "The app ended by itself before it was ready, or later.",
    "Its exit code and last lines stand beside. 137 with OOMKilled: it wants more memory than `resources.memory` gives.",
  ],
  port_closed: [
    "The app runs, and nothing listens on the manifest's `port` inside the container.",
    "It must listen on 0.0.0.0 and not on 127.0.0.1; `PORT` tells it which one.",
  ],
  health_status: [
    "The health check was answered with a status that counts as ill.",
    "The message has address and status. `health.status` says which count as well; `health.host` which name it is asked by.",
  ],
  health_redirect: [
    "The health check was sent elsewhere, mostly to https or to another name.",
    "Ask a path that answers itself; the check comes with `X-Forwarded-Proto: https` and the public Host.",
  ],
  health_timeout: [
    "The app took the connection and sent no answer in time.",
    "Raise `health.*.timeout`, or find what it waits for: its database, most often.",
  ],
  health_unreachable: [
    "The connection for the health check was refused or broken.",
    "The app may still be booting: `health.startup` gives it time. Else see port_closed.",
  ],
  health_command: [
    "The health command in the container ended with another code than 0.",
    "Its last words stand beside; run it by hand: sluice run -- <command>",
  ],
  docker_unhealthy: [
    "The image's own HEALTHCHECK says unhealthy.",
    "Mend it, or leave it out: `health: { image: off }`.",
  ],
  needs_unhealthy: [
    "An accessory that the manifest's `needs` names is not healthy, so the app was not started.",
    "sluice accessory list shows how each is; sluice logs --accessory <name> what it says.",
  ],
  instance_gone: [
    "Its container was removed by somebody else.",
    "It is made again where it should run. Find who removes it: a clean-up job, most often.",
  ],
  stale_fence: ["A newer order overtook this one on its host.", "Nothing to do: the newer one holds."],
  deadline: [
    "A state took longer than the manifest gives it (`deadlines:`); the message says what it waited for.",
    "Mend what it waited for, or give it longer.",
  ],
  hook_failed: [
    "A migration hook ended with another code than 0; nothing was started.",
    "Its last lines stand beside. What it has already changed is for you to look at.",
  ],
  hook_interrupted: [
    "Nobody knows whether the hook came to its end: its agent or host went away meanwhile. It is not run again by itself.",
    "Look at the database, then deploy again; a hook should be safe to run twice.",
  ],
  command_failed: [
    "What `sluice run` or a schedule ran ended with another code than 0.",
    "sluice runs shows its history.",
  ],
  command_interrupted: [
    "What `sluice run` or a schedule ran was cut short with its host or agent.",
    "It is not begun again by itself; sluice runs shows how far it came.",
  ],
  secrets_unreadable: [
    "Control could not open a secret's value: it was sealed with another key.",
    "Set it again, or bring the key back: docs/secrets.md.",
  ],
  unreachable: [
    "The new instances are healthy on their host, but not over the path that visitors take.",
    "The message has the answer. `sluice doctor` asks each part of the path: tunnel, record, shield, Access.",
  ],
  smoke_failed: [
    "A smoke check was not answered as the manifest wants.",
    "The message has address, answer and what was wanted. Before the switch nothing moved; after it the traffic went back.",
  ],
  analysis_failed: [
    "The canary was worse than stable by what the edge counted, and was taken back.",
    "sluice verdicts shows the numbers; sluice logs --release <version> what it said.",
  ],
  analysis_inconclusive: [
    "There was not enough traffic to tell within `analysis.maxWait`.",
    "More weight, more time, or `onInconclusive:`; docs/canary.md says how much traffic tells what.",
  ],
  instances_lost: [
    "Fewer than half of the instances answer, and something else took over, or nobody can.",
    "The message names hosts and causes. `sluice status` says who serves now.",
  ],
  look_failed: [
    "Control asked for the front page as a visitor would, before the first one, and nobody would have got anything: a circle of redirects, the app's own name refused, or a way to loopback.",
    "The message names the page and the framework's own remedy. `look: warn` in the manifest lets it through.",
  ],
  rolled_back: [
    "A person or a rule rolled it back; the message says why and to which release.",
    "sluice audit says who. Deploy again when it is mended.",
  ],
  slots_needed: [
    "What serves lost instances, could not carry its traffic any more, and no other slot was free, so the canary made way.",
    "Add a host, or let them have more slots; then deploy it again.",
  ],
  host_silent: [
    "A worker that must not run twice may still run on a host that is not heard from, so the new one waits.",
    "It starts when the host answers; where the machine is gone: sluice hosts remove <host>",
  ],
  host_removed: ["A host that was to run it was removed on the way.", "Deploy again."],
  not_approved: [
    "Nobody approved it before `approval.deadline`.",
    "Deploy again, and say so to who approves.",
  ],
  rejected: ["Somebody rejected it; the message says who.", "Mend what they found, then deploy again."],
  aborted: ["A person ended it; the audit log says who.", "Deploy again when it is meant."],
  worker_failed: [
    "A worker of the new release did not start, or ended again and again, and the release was taken back.",
    "Its cause and last lines stand beside: sluice logs --release <version>",
  ],
  worker_unhealthy: ["A worker's health command kept failing.", "Run it by hand: sluice run -- <command>"],
} as const satisfies Record<FailureCode, readonly [meaning: string, advice: string]>;
