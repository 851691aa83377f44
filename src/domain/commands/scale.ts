import { WEB, workersOf } from "../processes/process.ts";
import { err, ok, type Result } from "../result.ts";
import { Draft } from "../rollout/draft.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { isActive, type ReleaseFacts } from "../rollout/release.ts";
import type { EnvironmentSpec } from "../spec.ts";
import { inWords } from "../state-words.ts";
import type { Outcome, Refusal } from "./refusal.ts";

interface Again {
  readonly id: string;
  readonly actor: string;
}

/**
 * Starts what is live anew, instance by instance, with no request dropped: a release of the same image, without hooks or
 * steps. Secrets have their values of today.
 */
export function restart(facts: EnvironmentFacts, input: Again, now: number): Outcome<{ version: string }> {
  const draft = new Draft(facts, now, input.actor);
  const live = liveOf(draft);
  if (!live.ok) return live;
  const version = again(draft, live.value, { ...input, word: "restart", replicas: live.value.spec.replicas });
  return ok({ version, decision: draft.decision });
}

export type Counts = Readonly<Record<string, number>>;

/**
 * Sets how many of a process run, from now on and in the releases that follow, until `apply` says otherwise. Workers come and
 * go by themselves; other numbers of web instances are reached as in a restart. `version`: the release that does it, if any.
 */
export function scale(
  facts: EnvironmentFacts,
  input: Again & { readonly counts: Counts },
  now: number,
): Outcome<{ version: string | null }> {
  const draft = new Draft(facts, now, input.actor);
  const { counts } = input;
  const live = liveOf(draft);
  if (!live.ok) return live;
  const unknown = unknownOf(live.value.spec, counts);
  if (unknown) return err(unknown);
  draft.changeEnvironment({ spec: scaled(facts.spec, counts) });
  const spec = scaled(live.value.spec, { ...counts, [WEB]: live.value.spec.replicas });
  if (JSON.stringify(spec) !== JSON.stringify(live.value.spec)) draft.changeRelease(live.value.id, { spec });
  const words = Object.entries(counts).map(([name, count]) => `${name}=${count}`);
  const message = `${facts.app}/${facts.name} is scaled to ${words.join(", ")} by ${input.actor}`;
  draft.event("scale.changed", live.value.id, message, { counts });
  const replicas = counts[WEB] ?? live.value.spec.replicas;
  if (replicas === live.value.spec.replicas) return ok({ version: null, decision: draft.decision });
  const how = { ...input, word: `web-${replicas}`, replicas, secretsOf: live.value.id };
  const version = again(draft, { ...live.value, spec }, how);
  return ok({ version, decision: draft.decision });
}

function liveOf(draft: Draft): Result<ReleaseFacts, Refusal> {
  const live = draft.stable();
  const { app, name, releases } = draft.facts;
  if (!live) return err({ code: "not_found", detail: `nothing is live in ${app}/${name}: deploy first` });
  const busy = releases.find(
    ({ state }) => isActive(state) || state === "queued" || state === "rolling_back",
  );
  if (!busy) return ok(live);
  const detail = `${busy.version} is ${inWords(busy.state)}: wait for it, or abort it (\`sluice abort ${busy.version}\`)`;
  return err({ code: "release_in_progress", detail });
}

function unknownOf(spec: EnvironmentSpec, counts: Counts): Refusal | undefined {
  const known = [WEB, ...workersOf(spec).map(([name]) => name)];
  const unknown = Object.keys(counts).find((name) => !known.includes(name));
  if (unknown === undefined) {
    if (counts[WEB] !== 0) return undefined;
    const detail =
      "web can't be 0: to let no visitor in there is `sluice maintenance on`, to end it `sluice destroy`";
    return { code: "precondition_failed", detail };
  }
  const detail = `there is no worker \`${unknown}\` in what is live: ${known.join(", ")} can be scaled`;
  return { code: "not_found", detail };
}

function scaled(spec: EnvironmentSpec, counts: Counts): EnvironmentSpec {
  const processes = Object.entries(spec.processes ?? {}).map(([name, process]) => {
    const replicas = counts[name];
    const isScaled = process.kind === "worker" && replicas !== undefined;
    return [name, isScaled ? { ...process, replicas } : process] as const;
  });
  return { ...spec, replicas: counts[WEB] ?? spec.replicas, processes: Object.fromEntries(processes) };
}

const ONE_BY_ONE = { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const;

interface How {
  readonly word: string;
  readonly replicas: number;
  readonly secretsOf?: string;
}

function again(
  draft: Draft,
  live: ReleaseFacts,
  { id, actor, word, replicas, secretsOf }: Again & How,
): string {
  const base = `${live.version.replace(/-(restart|web-\d+)(-\d+)?$/, "")}-${word}`;
  let version = base;
  for (let n = 2; draft.facts.releases.some((release) => release.version === version); n++)
    version = `${base}-${n}`;
  draft.addRelease({
    id,
    version,
    kind: "restart",
    image: live.pinnedImage ?? live.image,
    spec: { ...live.spec, replicas, strategy: ONE_BY_ONE },
    by: actor,
    git: live.git ?? null,
    requestKey: null,
    hold: false,
    override: false,
    deadlineAt: draft.now + live.spec.deadlines.releaseMs,
    ...(secretsOf === undefined ? {} : { secretsOf }),
  });
  const message = `${version}: ${live.version} is started anew, one by one`;
  draft.event("release.state", id, message, { state: "queued", from: null, version });
  return version;
}
