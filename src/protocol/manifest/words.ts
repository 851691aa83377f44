import { PROCESS, WORKER_HEALTH, type Words } from "./process-words.ts";

/** What each key of the manifest is for: in the JSON Schema that editors show, and in docs/manifest.md, which is made from it. */

type Table = Readonly<Record<string, Words>>;

/** Key paths, `*` for a name of the writer's own. */
const under = (prefix: string, words: Table): [string, Words][] =>
  Object.entries(words).map(([key, value]) => [`${prefix}.${key}`, value]);

const RESOURCES: Table = {
  cpus: { what: "CPUs at most.", default: "all of the host's", example: "0.5" },
  memory: {
    what: "Memory at most; beyond it the app is ended. Swap counts.",
    default: "no limit",
    example: "512m",
  },
  memoryReservation: { what: "Memory it keeps when the host is short of it.", example: "256m" },
};
const LOGGING: Table = {
  maxSize: { what: "Size of one log file on the host.", default: "10m", example: "50m" },
  maxFile: { what: "How many such files are kept.", default: "3", example: "5" },
};
const CONTAINER: Table = {
  capabilities: {
    what: "All Linux capabilities are dropped, and these given back, without `CAP_`.",
    default: "those that an ordinary web image needs to start as root and step down",
    example: "[NET_BIND_SERVICE]",
  },
  readOnly: {
    what: "The image's files can't be written; `tmpfs` and volumes can.",
    default: "false",
    example: "true",
  },
  tmpfs: { what: "Directories in memory, writable by any user.", default: "[]", example: "[/tmp]" },
  ulimits: {
    what: "Limits of each process, soft and hard alike; -1 is without a limit.",
    default: "{}",
    example: "{ nofile: 65536 }",
  },
  stopSignal: {
    what: "What a stop sends first.",
    default: "the image's own, else SIGTERM",
    example: "SIGQUIT",
  },
  shm: { what: "Size of /dev/shm.", default: "64m", example: "256m" },
  init: {
    what: "A small init is PID 1 and reaps what the app leaves. `false` for images whose own first process must be PID 1 (s6-overlay).",
    default: "true",
    example: "false",
  },
  entrypoint: {
    what: "In the place of the image's entrypoint; hooks run under it, too.",
    example: "[/usr/bin/tini, --]",
  },
  user: {
    what: "Who runs it: a name, a number, or `uid:gid`.",
    default: "the image's own",
    example: '"1000:1000"',
  },
  groups: { what: "More groups that it is in.", default: "[]", example: "[video]" },
  extraHosts: {
    what: "Lines of its /etc/hosts, `name:address`; `host-gateway` is the host itself.",
    default: "[]",
    example: '["db.internal:10.0.0.5"]',
  },
};
const IMAGE_CHECK: Table = {
  command: { what: "Run inside the container; exit code 0 is healthy.", example: "[pg_isready, -U, app]" },
  interval: { what: "Time between two runs.", default: "5s", example: "10s" },
  timeout: { what: "A run that takes longer has failed.", default: "5s", example: "3s" },
  startPeriod: { what: "Time after the start in which failures don't count.", default: "0s", example: "30s" },
  failures: { what: "Failures in a row that make it unhealthy.", default: "3", example: "5" },
};
const PROBE: Table = {
  path: { what: "A GET is sent here. One of `path`, `tcp` and `command`.", default: "/", example: "/up" },
  tcp: { what: "Instead of a GET: whether something accepts connections on the port.", example: "true" },
  command: {
    what: "Instead of a GET: run inside the instance; exit code 0 is good.",
    example: "[bin/healthy]",
  },
  host: {
    what: "What the GET says in `Host`. It says `X-Forwarded-Proto: https`, too.",
    default: "the environment's first hostname",
    example: "internal.shop",
  },
  headers: { what: "More headers of the GET.", default: "{}", example: "{ X-Probe: sluice }" },
  status: {
    what: "Good answers: a status, a range, or a list of these.",
    default: "200-299",
    example: "[200-299, 401]",
  },
  port: { what: "Another port of the instance.", default: "the app's", example: "9000" },
  timeout: { what: "An answer that takes longer is a bad one.", default: "3s", example: "1s" },
  successes: { what: "Good answers in a row that make it good.", default: "1", example: "2" },
};
const probeWith = (interval: string, failures: string): Table => ({
  ...PROBE,
  interval: { what: "Time between two looks.", default: interval, example: "2s" },
  failures: { what: "Bad answers in a row that make it bad.", default: failures, example: "5" },
});
const ENVIRONMENT: Table = {
  hostnames: {
    what: 'Where visitors come; `"*.example.com"` (in quotes) is every name below it that is nobody\'s own. An admin allows an app its hostnames (`sluice hostnames allow`).',
    example: "[shop.example.com]",
  },
  hosts: {
    what: "Labels that a host must have to run this; none means any host.",
    default: "{}",
    example: "{ role: web }",
  },
  replicas: { what: "Instances, spread over the hosts.", default: "1", example: "3" },
  strategy: { what: "How traffic goes to a new release.", default: "blue-green", example: "canary" },
  "strategy.blue-green": { what: "All traffic at once, when every new instance answers." },
  "strategy.rolling": { what: "A few instances at a time." },
  "strategy.rolling.maxSurge": {
    what: "Instances beyond `replicas` while it rolls: a number or a percentage.",
    default: "1",
    example: "25%",
  },
  "strategy.rolling.maxUnavailable": {
    what: "Instances that may be missing while it rolls.",
    default: "0",
    example: "1",
  },
  "strategy.canary": { what: "Step by step, judged by what the edge itself measures." },
  "strategy.canary.steps": {
    what: "In order, each one `weight`, `pause` or `analysis`; weights rise and end with 100.",
    default: "10 % for 15 m, 50 % for 5 m, 100 %",
    example: "[{ weight: 5, bake: 10m }, { weight: 100 }]",
  },
  "strategy.canary.steps.weight": { what: "Percent of the visitors who get the new release.", example: "10" },
  "strategy.canary.steps.bake": {
    what: "How long it stays so before the judge is asked.",
    default: "0s",
    example: "15m",
  },
  "strategy.canary.steps.match": {
    what: "From this step on, only visitors who fit one of these rules are eligible.",
  },
  "strategy.canary.steps.match.header": { what: "A header with this value." },
  "strategy.canary.steps.match.header.name": { what: "Its name.", example: "X-Beta" },
  "strategy.canary.steps.match.header.value": { what: "Its value.", example: '"1"' },
  "strategy.canary.steps.match.cookie": { what: "A cookie with this value." },
  "strategy.canary.steps.match.cookie.name": { what: "Its name.", example: "beta" },
  "strategy.canary.steps.match.cookie.value": { what: "Its value.", example: '"1"' },
  "strategy.canary.steps.match.countries": { what: "Countries, by two letters.", example: "[DE, AT]" },
  "strategy.canary.steps.match.pathPrefix": { what: "The path's beginning.", example: "/api" },
  "strategy.canary.steps.mirror": {
    what: "Percent of GET and HEAD that are copied to the new release; its answers go nowhere.",
    default: "0",
    example: "5",
  },
  "strategy.canary.steps.pause": { what: "Waits for `sluice promote`." },
  "strategy.canary.steps.pause.for": {
    what: "At most this long, then it goes on by itself.",
    default: "until somebody promotes",
    example: "1h",
  },
  "strategy.canary.steps.analysis": { what: "Waits for proof that the new release is no worse." },
  "strategy.canary.steps.analysis.for": { what: "At most this long.", default: "30m", example: "10m" },
  "strategy.canary.analysis": {
    what: "What the judge goes by; `false` turns it off.",
    default: "{}",
    example: "{ errorRateMax: 1% }",
  },
  "strategy.canary.analysis.errorRateMax": {
    what: "More 5xx than this is a failure, whatever stable has.",
    example: "1%",
  },
  "strategy.canary.analysis.p95Max": { what: "A slower 95th percentile is a failure.", example: "500ms" },
  "strategy.canary.analysis.warmUp": {
    what: "Time after the first traffic that doesn't count.",
    default: "0s",
    example: "1m",
  },
  "strategy.canary.analysis.maxWait": {
    what: "Beyond a step's bake: how long it may wait for proof.",
    default: "30m",
    example: "1h",
  },
  "strategy.canary.analysis.onInconclusive": {
    what: "What is done when there was no proof in time: `ask`, `promote` or `abort`.",
    default: "ask",
    example: "promote",
  },
  "strategy.canary.analysis.onFailure": {
    what: "What is done when it is worse: `rollback` or `pause`.",
    default: "rollback",
    example: "pause",
  },
  windows: { what: "When releases may begin.", default: "any time" },
  "windows.allow": {
    what: "Days, times and zone, one or a list.",
    example: "Mon-Fri 08:00-18:00 Europe/Berlin",
  },
  "windows.freeze": {
    what: "Days on which none begins, one or a list.",
    example: "2026-12-24..2027-01-02 Europe/Berlin",
  },
  keep: {
    what: "How long a replaced release stays warm, for a rollback within seconds.",
    default: "10m",
    example: "1h",
  },
  port: { what: "In the place of the app's `port`.", example: "8080" },
  command: { what: "In the place of the app's `command`.", example: "[bin/serve, --staging]" },
  volumes: { what: "In the place of the app's `volumes`.", example: "[uploads:/app/uploads]" },
  resources: { what: "In the place of the app's `resources`." },
  accessories: { what: "What differs of the app's accessories here." },
  "accessories.*.host": { what: "The host it lives on.", example: "db-1" },
  processes: { what: "What differs of the app's processes here." },
  "processes.*.replicas": { what: "Of a worker: how many run here.", example: "4" },
  "processes.*.schedule": { what: "Other times, or `false`: not here.", example: "false" },
  "processes.*.env": { what: "More variables, over the process's own.", example: "{ DRY_RUN: yes }" },
  env: { what: "More variables, over the app's.", default: "{}", example: "{ LOG_LEVEL: debug }" },
  secrets: { what: "More secrets that it gets as variables.", default: "[]", example: "[STRIPE_KEY]" },
  affinity: {
    what: "What keeps a visitor with one release while traffic is split: `cookie`, `ip`, `none`, or `header:<name>`; or, as a map, also with one instance.",
    default: "cookie",
    example: "{ by: cookie, to: instance }",
  },
  "affinity.by": { what: "`cookie`, `ip`, or `header:<name>`.", example: "ip" },
  "affinity.to": { what: "The `release`, or one `instance` of it.", default: "release", example: "instance" },
  timeouts: { what: "How long the edge waits." },
  "timeouts.response": { what: "For the head of an answer.", default: "100s", example: "30s" },
  marks: {
    what: "When answers say which release they are from: while traffic is split (`rollout`), `always` or `never`.",
    default: "rollout",
    example: "always",
  },
  showRelease: { what: "Older than `marks`: true is `always`, false is `never`." },
  retention: { what: "How long what is over is kept." },
  "retention.jobs": { what: "What hosts were asked for.", default: "14d", example: "30d" },
  "retention.verdicts": { what: "What the judge said.", default: "90d", example: "365d" },
  "retention.events": { what: "What happened.", default: "400d", example: "90d" },
  "retention.releases": {
    what: "Releases that can't be rolled back to any more.",
    default: "400d",
    example: "90d",
  },
  deadlines: { what: "How long each part of a release may take." },
  "deadlines.prepare": { what: "Pulling the image.", default: "10m", example: "20m" },
  "deadlines.hook": { what: "One hook.", default: "15m", example: "1h" },
  "deadlines.pause": { what: "A pause that waits for a person.", default: "24h", example: "72h" },
  "deadlines.verify": {
    what: "Until each new instance answers on the visitors' path.",
    default: "30s",
    example: "2m",
  },
  "deadlines.release": { what: "All of it.", default: "1h and the steps' own times", example: "6h" },
};
const ACCESSORY: Table = {
  image: { what: "Its image.", example: "postgres:17" },
  command: { what: "In the place of the image's command.", example: "[postgres, -c, shared_buffers=256MB]" },
  env: { what: "Its variables.", default: "{}", example: "{ POSTGRES_DB: shop }" },
  secrets: { what: "Secrets that it gets as variables.", default: "[]", example: "[POSTGRES_PASSWORD]" },
  volumes: {
    what: "As the app's. They outlive it.",
    default: "[]",
    example: "[data:/var/lib/postgresql/data]",
  },
  container: { what: "As the app's." },
  resources: { what: "As the app's." },
  logging: { what: "As the app's." },
  stopGrace: { what: "As the app's.", default: "30s", example: "2m" },
  health: { what: "In the place of the image's HEALTHCHECK; `off`: none.", default: "the image's own" },
  files: {
    what: "Texts that are put into the container before it starts, by their paths; `{ from: <file> }` is read by the command line, below the manifest's folder.",
    default: "{}",
    example: '{ /etc/app.conf: "key = value" }',
  },
  "files.*.from": {
    what: "A file below the manifest's folder, read by the command line.",
    example: "./config/app.conf",
  },
  host: {
    what: "The host it lives on. Needed where the labels fit several: a private network doesn't span machines.",
    example: "db-1",
  },
};

/** By key path. */
export const WORDS: ReadonlyMap<string, Words> = new Map([
  ...Object.entries<Words>({
    $schema: { what: "For editors; not read." },
    app: { what: "Names the app: a–z, 0–9 and -.", example: "shop" },
    image: {
      what: "Its image, without a tag: a deploy says which. `file:<directory>` for hosts that run plain processes.",
      example: "ghcr.io/acme/shop",
    },
    port: { what: "Port that the app listens on. It is told as `PORT`.", example: "3000" },
    command: { what: "In the place of the image's command.", example: "[bin/rails, server]" },
    verify: { what: "Who must have signed the image; asked on each host before anything of it runs." },
    "verify.mode": {
      what: "`enforce` runs nothing else; `warn` says it and runs it.",
      default: "enforce",
      example: "warn",
    },
    "verify.cosign": { what: "`cosign sign`: a key, or an identity with its issuer." },
    "verify.cosign.key": { what: "The public key, as PEM." },
    "verify.cosign.issuer": {
      what: "Who vouches for the identity.",
      example: "https://token.actions.githubusercontent.com",
    },
    "verify.cosign.identity": {
      what: "Who signed.",
      example: "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main",
    },
    "verify.attestation": {
      what: "GitHub's attestation of the repository that built it.",
      example: "acme/shop",
    },
    health: { what: "When an instance is ready, stays so, and lives." },
    "health.startup": {
      what: "Asked until it first succeeds.",
      default: "what `readiness` asks, every 250 ms",
    },
    "health.startup.deadline": {
      what: "How long an instance may take to become ready at all.",
      default: "60s",
      example: "3m",
    },
    "health.readiness": { what: "Whether it may get traffic.", default: "GET / every 5 s" },
    "health.liveness": {
      what: "Restarted when it fails. Without it an instance is restarted only when it exits.",
      default: "not asked",
    },
    "health.image": {
      what: "The image's own HEALTHCHECK: `off`, or another in its place.",
      default: "the image's own",
      example: "off",
    },
    resources: { what: "What an instance may use." },
    logging: { what: "How much of its output a host keeps." },
    container: { what: "How the container is walled in." },
    volumes: {
      what: "`name:/path` for a volume of the environment's own, `/host/path:/path` where the host's policy allows it; `:ro` forbids writing.",
      default: "[]",
      example: "[uploads:/app/uploads]",
    },
    secrets: {
      what: "Secrets that it gets as variables (`sluice secrets set`).",
      default: "[]",
      example: "[DATABASE_URL]",
    },
    env: {
      what: "Variables, as text. `PORT` and `SLUICE_*` are set by Sluice.",
      default: "{}",
      example: "{ RAILS_ENV: production }",
    },
    hooks: { what: "Commands that run once per release, in the new image." },
    "hooks.expand": {
      what: "Before anything of the release starts: migrations that the old release can live with.",
      example: "[bin/rails, db:migrate]",
    },
    "hooks.contract": {
      what: "After the rollback window: what only the new release needs.",
      example: "[bin/rails, db:contract]",
    },
    smoke: {
      what: "Requests that must be answered just so, before and after the switch.",
      default: "[]",
      example: "[{ path: /login, contains: Sign in }]",
    },
    "smoke.path": { what: "What is asked for.", example: "/login" },
    "smoke.status": { what: "The status it must have.", default: "200", example: "302" },
    "smoke.contains": { what: "A text that must be in it.", example: "Sign in" },
    drain: { what: "How long requests under way may take after a switch.", default: "30s", example: "2m" },
    stopGrace: { what: "After the stop signal, how long before SIGKILL.", default: "30s", example: "1m" },
    accessories: {
      what: "Databases and caches beside the app, by name. No release touches them.",
      default: "{}",
    },
    needs: {
      what: "Accessories that have to be healthy before an instance starts.",
      default: "[]",
      example: "[db]",
    },
    processes: { what: "What runs beside the web, of the same image: workers, and scheduled ones." },
    environments: { what: "Where it runs, by name: `production`, `staging`." },
  }),
  ...under("health.startup", probeWith("250ms", "1")),
  ...under("health.readiness", probeWith("5s", "3")),
  ...under("health.liveness", probeWith("10s", "3")),
  ...under("health.image", IMAGE_CHECK),
  ...under("resources", RESOURCES),
  ...under("logging", LOGGING),
  ...under("container", CONTAINER),
  ...under("processes.*", PROCESS),
  ...under("processes.*.health", WORKER_HEALTH),
  ...under("processes.*.resources", RESOURCES),
  ...under("accessories.*", ACCESSORY),
  ...under("accessories.*.container", CONTAINER),
  ...under("accessories.*.resources", RESOURCES),
  ...under("accessories.*.logging", LOGGING),
  ...under("accessories.*.health", IMAGE_CHECK),
  ...under("environments.*", ENVIRONMENT),
  ...under("environments.*.resources", RESOURCES),
]);
