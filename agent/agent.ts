import { randomUUID } from "node:crypto";
import { type Clock, jittered, systemClock } from "./clock.ts";
import { chooseConnectors } from "./cloudflared/choose.ts";
import { Tunnel } from "./cloudflared/tunnel.ts";
import { type Control, createControl } from "./control/control.ts";
import type { Credentials } from "./control/credentials.ts";
import { Identity } from "./control/identity.ts";
import { holdWakeSocket } from "./control/wake.ts";
import { Facts } from "./host/facts.ts";
import { Images } from "./host/images.ts";
import { keepTidy } from "./host/upkeep.ts";
import { Instances } from "./instances/instances.ts";
import { Reports } from "./instances/reports.ts";
import { Dispatch } from "./jobs/dispatch.ts";
import { Hooks } from "./jobs/hooks.ts";
import { openJournal } from "./journal.ts";
import type { Log } from "./log.ts";
import { LogStreams } from "./logs/streams.ts";
import { pollLoop } from "./loop.ts";
import type { Outcome } from "./outcome.ts";
import type { Policy } from "./policy/policy.ts";
import { recallSecrets } from "./redaction/recall.ts";
import type { Secrets } from "./redaction/secrets.ts";
import type { Engine } from "./runtime/docker/engine.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { fetchingFromControl } from "./shipped/fetching.ts";
import { Signal } from "./signal.ts";
import { Signatures } from "./verify/signatures.ts";
import { AGENT_VERSION } from "./version.ts";

/** Control answers a poll in milliseconds; a connection that hangs longer is dead. */
const CONTROL_TIMEOUT_MS = 15_000;
const ADOPT_RETRY_MS = 2_000;
const LEAVE_WITHIN_MS = 1_000;

export interface AgentOptions {
  credentials: Credentials;
  /** Where the journal is kept. */
  directory: string;
  runtime: Runtime;
  /** Of the Docker runtime: the agent tells about it, and may run cloudflared with it. */
  engine?: Engine | undefined;
  cloudflared?: { program?: string | undefined; image?: string | undefined };
  log: Log;
  /** The host's own rules. */
  policy: Policy;
  /** What nothing may tell; it is filled as jobs come. */
  secrets: Secrets;
  /** Directory of the host's trusted root, and of bundles that are in no registry. */
  sigstore?: string | undefined;
  clock?: Clock;
  /** False: never opens the wake-up socket. */
  wakeSocket?: boolean;
  /** Between polls while control refuses this host. */
  refusedMs?: number;
}

/**
 * Runs an agent until the signal aborts. It then lets go of everything and touches nothing: instances run on, and the
 * next agent on this directory takes them up again.
 *
 * @example await runAgent({ credentials, directory, runtime, policy, log }, abort.signal)
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const parts = await assemble(options, signal);
  const { credentials, runtime, secrets, log, refusedMs } = options;
  const { clock, journal, identity, reports, instances, images, dispatch, tunnel, wake } = parts;
  log.info("agent runs", {
    host: credentials.host.name,
    runtime: runtime.name,
    control: credentials.url,
    version: AGENT_VERSION,
  });

  const recall = () => recallSecrets(runtime, secrets, journal.state.secretNames);
  const adopting = adopt({ instances, recall, log, clock }, signal);
  await adopting.firstTry;
  dispatch.resume();
  const socket = options.wakeSocket === false ? undefined : { isOpen: false };
  const loops = [
    // What runs must be known before anything is taken for a leftover.
    adopting.done.then(() => keepTidy({ runtime, instances, images, journal, clock, log }, signal)),
    reports.deliver(signal),
    pollLoop({ ...parts, version: AGENT_VERSION, log, socket, refusedMs }, signal),
  ];
  if (socket) {
    const onWake = () => wake.raise();
    loops.push(holdWakeSocket({ url: credentials.url, identity, clock, log, signal, onWake, socket }));
  }
  const tunnelling = tunnel.run(signal);
  await Promise.all(loops);
  await Promise.race([letGo(parts, tunnelling), clock.sleep(LEAVE_WITHIN_MS)]);
  await journal.close();
  log.info("agent ends; its instances run on");
}

type Parts = Awaited<ReturnType<typeof assemble>>;

async function assemble(options: AgentOptions, signal: AbortSignal) {
  const { credentials, directory, policy, secrets, log, clock = systemClock } = options;
  const journal = await openJournal(directory, (message) => log.error(message));
  const identity = new Identity(directory, credentials);
  const { url } = credentials;
  const token = () => identity.token;
  const runtime = fetchingFromControl(options.runtime, { url, token, clock });
  const control = createControl({
    url,
    token,
    timeoutMs: CONTROL_TIMEOUT_MS,
    signal,
  });
  const boot = randomUUID();
  const reports = new Reports({ boot, journal, control, clock, log, secrets });
  const images = new Images({ runtime, journal, clock, log });
  const instances = new Instances({ runtime, journal, reports, control, images, secrets, clock, log });
  const hooks = new Hooks({ runtime, journal, clock, log, secrets });
  const dispatch = new Dispatch({
    ...{ runtime, instances, hooks, images, policy, secrets },
    signatures: new Signatures({ journal, log, sigstore: options.sigstore, now: () => clock.now() }),
    ...{ journal, control, clock, log },
  });
  const streams = new LogStreams({ runtime, instances, journal, control, clock, log, secrets });
  const wake = new Signal(clock);
  const { facts, tunnel } = hostSide(options, { control, policy, clock, wake, dispatch });
  const told = { control, identity, reports, facts, tunnel };
  return { clock, journal, boot, wake, ...told, instances, hooks, images, dispatch, streams };
}

/** A stop or restart under way may take its whole grace, a pull minutes: what is under way ends without us. */
const letGo = ({ instances, hooks, streams, dispatch }: Parts, tunnelling: Promise<void>) =>
  Promise.all([dispatch.stop(), instances.releaseAll(), hooks.releaseAll(), streams.stop(), tunnelling]);

interface HostSideParts {
  control: Control;
  policy: Policy;
  clock: Clock;
  wake: Signal;
  dispatch: Dispatch;
}

/** What the agent tells of its host, and the tunnel that leads to it. */
function hostSide(
  { credentials, directory, runtime: { accessories }, engine, cloudflared = {}, log }: AgentOptions,
  { control, policy, clock, wake, dispatch }: HostSideParts,
): { facts: Facts; tunnel: Tunnel } {
  const host = credentials.host.id;
  const tunnel: Tunnel = new Tunnel({
    directory,
    host,
    control,
    clock,
    log,
    choose: () => chooseConnectors({ directory, host, engine, ...cloudflared }),
    onChange: () => {
      facts.stale();
      wake.raise();
    },
  });
  const facts = new Facts(
    {
      engine,
      directory,
      ports: credentials.ports,
      tunnel: () => tunnel.facts,
      accessories: accessories && (() => accessories.list()),
      policy: () => policy.summary(),
      counted: async () => {
        const cloudflared = await tunnel.counts();
        return { jobs: { ...dispatch.counts }, ...(cloudflared && { cloudflared }) };
      },
    },
    clock,
  );
  return { facts, tunnel };
}

interface Adopting {
  instances: Instances;
  recall: () => Promise<Outcome<void>>;
  log: Log;
  clock: Clock;
}

/** The first try is waited for, so that polls tell the truth; an engine that is away is asked again behind them. */
function adopt(
  { instances, recall, log, clock }: Adopting,
  signal: AbortSignal,
): { firstTry: Promise<void>; done: Promise<void> } {
  // What an instance says is told only once it is known what must not be.
  const once = async () => {
    const recalled = await recall();
    return recalled.ok ? instances.adopt() : recalled;
  };
  const first = once();
  const retry = async () => {
    let outcome = await first;
    if (!outcome.ok)
      log.error("the runtime does not answer; what runs is left alone", { detail: outcome.error.message });
    while (!outcome.ok && !signal.aborted) {
      await clock.sleep(jittered(ADOPT_RETRY_MS), signal);
      if (!signal.aborted) outcome = await once();
    }
  };
  return { firstTry: first.then(() => {}), done: retry() };
}
