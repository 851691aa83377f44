/** What the keys of `processes:` are for; see words.ts. */

export interface Words {
  /** One or two sentences. */
  readonly what: string;
  /** What holds when it is left out, as it would be written; absent: nothing, or it must be there. */
  readonly default?: string;
  /** A value, as YAML on one line. */
  readonly example?: string;
}
type Table = Readonly<Record<string, Words>>;

export const PROCESS: Table = {
  command: { what: "What runs, in the app's own image.", example: "[npm, run, worker]" },
  env: { what: "Added to the app's variables, and before them.", default: "{}", example: "{ QUEUE: mail }" },
  replicas: {
    what: "Of a worker: how many run over all hosts; 0 is none.",
    default: "1",
    example: "2",
  },
  stopGrace: {
    what: "Of a worker: how long it may take after SIGTERM to end what it has begun.",
    default: "the app's `stopGrace`",
    example: "60s",
  },
  at: {
    what: "Of a worker: `live`, it starts when its release has all traffic; `start`, with the release's instances.",
    default: "live",
    example: "start",
  },
  handover: {
    what: "Of a worker: `start-first`, the old ones stop when the new are healthy; `stop-first`, new ones start when none of the old is left, so that it never runs twice.",
    default: "start-first",
    example: "stop-first",
  },
  schedule: {
    what: "Five fields of cron and a time zone. It runs at those times, and is no worker.",
    example: "0 3 * * * Europe/Berlin",
  },
  overlap: {
    what: "Of a scheduled one whose last run still goes on: `skip` the new one, or `queue` it.",
    default: "skip",
    example: "queue",
  },
  deadline: { what: "Of a scheduled one: a run is ended after so long.", default: "1h", example: "10m" },
  health: { what: "When a worker is healthy." },
  resources: { what: "In the place of the app's `resources`." },
};
export const WORKER_HEALTH: Table = {
  command: {
    what: "Run in the worker: exit code 0 is healthy.",
    default: "to stay up for three seconds is all that is asked",
    example: "[redis-cli, ping]",
  },
  interval: { what: "How often it is run.", default: "10s", example: "30s" },
  timeout: { what: "How long it may take.", default: "5s", example: "10s" },
  failures: { what: "Failures in a row until it is not healthy.", default: "3", example: "5" },
  deadline: { what: "How long a worker may take to get healthy.", default: "60s", example: "3m" },
};
