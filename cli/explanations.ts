import { PROBLEM_EXPLANATIONS } from "../src/protocol/explanations.ts";
import type { ProblemCode } from "../src/protocol/problem.ts";
import type { CliCode } from "./io/problem.ts";

/** `sluice explain`: what each code means and what to do, without a network. */
export const EXPLANATIONS = {
  ...PROBLEM_EXPLANATIONS,
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
  usage: ["The command line isn't one this CLI understands.", "`sluice <command> -h` shows examples."],
  declined: ["The question was not answered with yes.", "Nothing was changed."],
} as const satisfies Record<ProblemCode | CliCode, readonly [meaning: string, advice: string]>;
