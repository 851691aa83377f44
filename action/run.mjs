/**
 * What action.yml runs in a GitHub or Forgejo job: one command of the CLI, its outputs, the job's summary, GitHub's
 * Deployment object and one comment on the pull request. Plain Node, since a composite action installs nothing. The
 * release comes first: what GitHub refuses beside it is a warning.
 */
import { spawn } from "node:child_process";
import { appendFileSync, readFileSync } from "node:fs";

const { env } = process;
const input = (name) => (env[`INPUT_${name.toUpperCase()}`] ?? "").trim();
const line = (value) => String(value ?? "").replace(/[\r\n]+/g, " ");
const data = (text) => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const warn = (text) => console.log(`::warning title=Sluice::${data(String(text)).slice(0, 2000)}`);

/** With the inputs that each can't do without. */
const COMMANDS = {
  deploy: [],
  ship: [],
  "promote-to": ["environment", "from"],
  rollback: [],
  "preview up": ["image"],
  "preview down": [],
};
const SWITCHES = ["apply", "deployment", "comment"];

/** What can't be meant, in words: a switch that is taken for off would release what nobody looked at. */
function problemOf(command) {
  if (!Object.hasOwn(COMMANDS, command))
    return `run: ${line(command)} is none of ${Object.keys(COMMANDS).join(", ")}`;
  const lack = COMMANDS[command].find((name) => input(name) === "");
  if (lack) return `run: ${command} needs the input \`${lack}\``;
  const odd = SWITCHES.find((name) => !["", "true", "false"].includes(input(name)));
  return odd && `${odd}: ${line(input(odd))} is none of true, false`;
}

/** The command's words. Inputs are words of their own, never parts of a script. */
function wordsOf(command) {
  // Which pull request it is the command reads from the job's event.
  if (command.startsWith("preview "))
    return [
      ...command.split(" "),
      "--json",
      ...flag("--app", "app"),
      ...flag("--file", "file"),
      ...(command === "preview up" ? flag("--image", "image") : []),
    ];
  const target = command === "promote-to" ? [] : flag("--env", "environment");
  const waits = command === "rollback" ? [] : [`--wait=${input("wait") || "done"}`];
  const own = {
    deploy: [
      ...flag("--image", "image"),
      ...flag("--version", "version"),
      ...(input("apply") === "true" ? ["--apply"] : []),
    ],
    ship: [...flag("--version", "version"), ...(input("apply") === "true" ? [] : ["--no-apply"])],
    "promote-to": [
      ...flag("--from", "from"),
      ...flag("--release", "release"),
      ...flag("--version", "version"),
    ],
    rollback: flag("--to", "release"),
  }[command];
  const at = command === "promote-to" ? ["--", input("environment")] : [];
  return [
    command,
    "--json",
    ...flag("--app", "app"),
    ...target,
    ...flag("--file", "file"),
    ...waits,
    ...own,
    ...at,
  ];
}

/** `--flag=value`: a value that begins with a dash stays a value. */
function flag(name, of) {
  const value = input(of);
  return value === "" ? [] : [`${name}=${value}`];
}

/** Runs it; its log goes to the job's. A job that is cancelled passes the signal on: the command says what goes on. */
function runSluice(words) {
  const child = spawn("sluice", words, { stdio: ["ignore", "pipe", "inherit"], env: withToken() });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += chunk;
  });
  return new Promise((resolve) => {
    child.on("error", (error) => {
      console.error(`sluice can't be run: ${error.message}`);
      resolve({ code: 1, answer: {} });
    });
    child.on("close", (code) => resolve({ code: code ?? 130, answer: parsed(said) }));
  });
}

/** Neither the workflow's own token nor our inputs are the command's business. */
function withToken() {
  const rest = Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("INPUT_")));
  return input("token") === "" ? rest : { ...rest, SLUICE_TOKEN: input("token") };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function writeOutputs({ answer }) {
  const { release = {} } = answer;
  const outputs = {
    release: release.id,
    version: release.version,
    state: release.state,
    outcome: answer.outcome,
    url: answer.url,
  };
  if (env.GITHUB_OUTPUT)
    for (const [name, value] of Object.entries(outputs))
      appendFileSync(env.GITHUB_OUTPUT, `${name}=${line(value)}\n`);
}

/** Text of others: no markup of theirs. */
const cell = (value) =>
  line(value)
    .slice(0, 2000)
    .replace(/[|<>&\\`*_[\]]/g, (c) => `&#${c.charCodeAt(0)};`);

function table({ answer }) {
  const { release = {} } = answer;
  const why = answer.failure?.message ?? release.failure?.message ?? answer.detail;
  const { preview } = answer;
  const rows = [
    ["preview", preview?.url],
    ["stays until", preview?.expiresAt],
    [
      "release",
      release.id && `${line(release.version)} of ${line(release.app)}/${line(release.environment)}`,
    ],
    ["outcome", answer.outcome ?? answer.title],
    ["commit", release.git?.sha],
    ["image", release.image],
    ["url", preview ? undefined : answer.url],
    ["undo", preview ? undefined : answer.undo],
    ["why", why],
  ];
  const lines = rows.filter(([, value]) => value).map(([name, value]) => `| ${name} | ${cell(value)} |`);
  return ["### Sluice", "", "| | |", "|---|---|", ...lines, ""].join("\n");
}

/** `ship` writes its own, with its stages. */
function writeSummary(command, ended) {
  if (command !== "ship" && env.GITHUB_STEP_SUMMARY) appendFileSync(env.GITHUB_STEP_SUMMARY, table(ended));
}

async function github(method, path, body) {
  const response = await fetch(`${env.GITHUB_API_URL}/repos/${env.GITHUB_REPOSITORY}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${input("github_token")}`,
      accept: "application/vnd.github+json",
      "x-github-api-version": "2022-11-28",
      "user-agent": "sluice-action",
      ...(body ? { "content-type": "application/json" } : {}),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
    signal: AbortSignal.timeout(15_000),
  });
  if (response.ok) return response.json();
  const needs =
    response.status === 403 || response.status === 404
      ? "; the job needs `permissions: { deployments: write, pull-requests: write }`"
      : "";
  throw new Error(`${method} ${path}: ${response.status}${needs}`);
}

/** Answers undefined where GitHub would not: that ends no release. */
async function beside(what, work) {
  try {
    return await work();
  } catch (error) {
    warn(`${what}: ${error.message}`);
    return undefined;
  }
}

const logUrl = `${env.GITHUB_SERVER_URL}/${env.GITHUB_REPOSITORY}/actions/runs/${env.GITHUB_RUN_ID}`;

/** https://docs.github.com/rest/deployments: without these two it would merge branches, or wait for checks. */
async function beginDeployment(environment) {
  const made = await github("POST", "/deployments", {
    ref: env.GITHUB_SHA,
    environment,
    auto_merge: false,
    required_contexts: [],
    description: "by Sluice",
    production_environment: environment === "production",
  });
  await setStatus(made.id, { state: "in_progress", description: "on its way" });
  return made.id;
}

const setStatus = (id, status) =>
  github("POST", `/deployments/${id}/statuses`, {
    log_url: logUrl,
    ...status,
    description: line(status.description).slice(0, 140),
  });

/** The Deployments of what is gone: GitHub would show them as active for ever. */
async function retireDeployments(environment) {
  const query = `environment=${encodeURIComponent(environment)}&per_page=100`;
  for (const { id } of await github("GET", `/deployments?${query}`))
    await setStatus(id, { state: "inactive", description: "the preview is taken down" });
}

/** What a command's end means there. Undefined: it goes on without this job, and `in_progress` stays true. */
export function statusOf({ code, answer }) {
  const version = answer.release?.version ?? "it";
  const why = answer.failure?.message ?? answer.release?.failure?.message ?? answer.detail ?? "";
  if (code === 0 && answer.outcome === "superseded")
    return { state: "inactive", description: `${version} gave way to another` };
  if (code === 0 && answer.outcome === "live")
    return { state: "success", description: `${version} serves`, environment_url: answer.url ?? undefined };
  if (code === 3) return { state: "failure", description: `${version} was taken back: ${why}` };
  if (code === 4) return { state: "failure", description: `ACT NOW, not restored: ${why}` };
  if (code === 1 || code === 2) return { state: "error", description: `refused: ${why}` };
  if (answer.outcome === "interrupted")
    return { state: "error", description: "interrupted: nothing was released" };
  return undefined;
}

/** One comment, found again by its mark. */
async function comment(ended) {
  const number = JSON.parse(readFileSync(env.GITHUB_EVENT_PATH, "utf8")).pull_request?.number;
  if (number === undefined) return;
  const { app = input("app"), environment = input("environment") } = ended.answer.release ?? {};
  // A preview's comment is found again by whoever takes it down, and by one that was refused and has no release.
  const place = ended.command?.startsWith("preview ")
    ? `${cell(input("app"))} preview`.trim()
    : `${cell(app)}/${cell(environment)}`;
  const mark = `<!-- sluice ${place} -->`;
  const isDown = ended.command === "preview down" && ended.code === 0;
  const body = `${mark}\n${isDown ? "### Sluice\n\nThe preview is taken down." : table(ended)}\n[log](${logUrl})\n`;
  for (let page = 1; page <= 10; page++) {
    const found = await github("GET", `/issues/${number}/comments?per_page=100&page=${page}`);
    const own = found.find((one) => one.body?.startsWith(mark) && !isStrangers(one));
    if (own) return github("PATCH", `/issues/comments/${own.id}`, { body });
    if (found.length < 100) break;
  }
  // Where nobody was told of a preview, nobody has to be told of its end.
  return isDown ? undefined : github("POST", `/issues/${number}/comments`, { body });
}

/** Anybody may write our mark into a comment; what its author can change later is not ours to keep up. */
const isStrangers = ({ user, author_association: as }) =>
  user?.type === "User" && !["OWNER", "MEMBER", "COLLABORATOR"].includes(as);

async function main() {
  const command = input("run") || "deploy";
  const problem = problemOf(command);
  if (problem) {
    console.error(problem);
    return 1;
  }
  const environment = input("environment");
  const isWanted = input("deployment") !== "false" && input("github_token") !== "";
  // Which one the manifest means is known when it is over: a Deployment of another one would be a lie.
  if (isWanted && environment === "") warn("no Deployment at GitHub: name the input `environment`");
  const isTold = isWanted && environment !== "";
  const isEnd = command === "preview down";
  const deployment =
    isTold && !isEnd
      ? await beside("no Deployment at GitHub", () => beginDeployment(environment))
      : undefined;
  const ended = await runSluice(wordsOf(command));
  writeOutputs(ended);
  writeSummary(command, ended);
  if (isTold && isEnd && ended.code === 0)
    await beside("its Deployments at GitHub are not up to date", () => retireDeployments(environment));
  const status = statusOf(ended);
  if (deployment !== undefined && status)
    await beside("the Deployment at GitHub is not up to date", () => setStatus(deployment, status));
  if (input("comment") === "true") await beside("no comment", () => comment({ ...ended, command }));
  return ended.code;
}

if (process.argv[1]?.endsWith("action/run.mjs")) process.exitCode = await main();
