import { ENVIRONMENT } from "./environment-words.ts";
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
      what: "Its image, without a tag: a deploy says which. `file:<directory>` for hosts that run plain processes. Without it the image is in no registry: `sluice ship` sends it to control, where hosts fetch it (ship.md).",
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
    build: {
      what: "How `sluice ship` makes the image; a text is its `context`.",
      example: ".",
    },
    "build.context": { what: "The folder that is sent to the build.", default: ".", example: "../.." },
    "build.dockerfile": {
      what: "The Dockerfile, from the context.",
      default: "Dockerfile",
      example: "docker/web",
    },
    "build.target": { what: "The stage that is built.", default: "the last", example: "runner" },
    "build.platform": {
      what: "What it is built for; several need buildx.",
      default: "this machine's",
      example: "linux/amd64",
    },
    "build.args": {
      what: "Build arguments; `docker history` shows them.",
      default: "{}",
      example: "{ NODE: 24 }",
    },
    "build.secrets": {
      what: "Variables that the build mounts as secrets (`RUN --mount=type=secret,id=NAME`); needs BuildKit.",
      default: "[]",
      example: "[NPM_TOKEN]",
    },
    "build.cache": {
      what: "Where buildx keeps layers between machines: `registry` (beside the image, as `:buildcache`) or `gha`.",
      default: "this machine's own",
      example: "registry",
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
    look: {
      what: "Looks at `/` as a visitor would before the first one: `fail` ends a release where no visitor would get anything (a circle of redirects, its own hostname refused), `warn` only says so, as of all else that is seen.",
      default: "fail",
      example: "warn",
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
  ...under("environments.*.previews.resources", RESOURCES),
]);
