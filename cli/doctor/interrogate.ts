import { APIError } from "cloudflare";
import type { InsideAnswer, InsideQuestion, InsideSeen } from "../../src/protocol/api/doctor.ts";
import { controlWorker } from "../setup/installation.ts";
import {
  type Cleaned,
  clean,
  configure,
  type Lab,
  makeAccess,
  makeEcho,
  makeRecord,
  makeRoute,
  makeServiceToken,
  makeTunnel,
  readConfiguration,
  type ServiceToken,
  wordsOf,
} from "./lab.ts";
import {
  type Answer,
  expected,
  judgeAccessInside,
  judgeReach,
  judgeUnconnected,
  other,
  QUESTIONS,
  type QuestionId,
  unasked,
} from "./questions.ts";

/** Who asks: control's word from inside, and the person's Ctrl-C. */
export interface Asker {
  readonly signal: AbortSignal;
  readonly askInside: (question: InsideQuestion) => Promise<InsideAnswer>;
}

/** What asking needs of the world besides Cloudflare's API and control. */
export interface Ports {
  readonly fetch: typeof fetch;
  readonly sleep: (ms: number) => Promise<void>;
}

type From = "request" | "object" | "alarm";

/**
 * Asks every question, those that make nothing first. Whatever was made goes in the end, also after an interruption, and
 * whatever a run that is over left goes at the beginning. Answers in the questions' order, with what would not go.
 */
export async function interrogate(
  asker: Asker,
  lab: Lab | null,
  ports: Ports,
): Promise<Cleaned & { answers: Answer[] }> {
  const answers = [await d1Batch(asker)];
  let cleaned: Cleaned = { left: [], others: [] };
  if (lab) {
    await clean(lab);
    try {
      answers.push(...(await askAccount(asker, lab, ports)));
    } finally {
      cleaned = await clean(lab);
    }
  }
  const why = "needs CLOUDFLARE_API_TOKEN, on the machine that set Sluice up";
  const ids = Object.keys(QUESTIONS) as QuestionId[]; // The object's own keys.
  return { ...cleaned, answers: ids.map((id) => answers.find((one) => one.id === id) ?? unasked(id, why)) };
}

async function d1Batch(asker: Asker): Promise<Answer> {
  return asked(asker, "d1-batch", async () => {
    const answer = await asker.askInside({ kind: "batch" });
    if (answer.kind !== "batch" || answer.refused === null)
      return expected("d1-batch", "a batch of 1,001 statements is taken: it counts as one");
    return other("d1-batch", `a batch of 1,001 statements is refused: ${answer.refused}`);
  });
}

async function askAccount(asker: Asker, lab: Lab, ports: Ports): Promise<Answer[]> {
  const answers = [await cpu(asker, lab), await zeroTrust(asker, lab)];
  let tunnel = "";
  answers.push(
    await asked(asker, "new-tunnel", async () => {
      tunnel = await makeTunnel(lab);
      const found = await readConfiguration(lab, tunnel);
      return expected(
        "new-tunnel",
        found === null ? "404" : found.config ? "an empty configuration" : "none, with 200",
      );
    }),
  );
  if (tunnel === "") return answers;
  answers.push(
    await asked(asker, "catch-all", async () => {
      await configure(lab, tunnel);
      return expected("catch-all", "it is");
    }),
  );
  let mode: boolean | null | undefined;
  answers.push(
    await asked(asker, "route-first", async () => {
      mode = await makeRoute(lab);
      return expected("route-first", "it may");
    }),
  );
  const seen: InsideSeen[] = [];
  const reachFrom = (from: From) =>
    asked(asker, `from-${from}`, async () => {
      const one = await settled(asker, lab, from, ports);
      seen.push(one);
      return judgeReach(`from-${from}`, one);
    });
  let isReady = false;
  const first = await asked(asker, "from-request", async () => {
    await makeRecord(lab, lab.slot, `${tunnel}.cfargotunnel.com`);
    if (mode === undefined) mode = await makeRoute(lab);
    isReady = true;
    return await reachFrom("request");
  });
  answers.push(first, ...(mode === undefined ? [] : [failureMode(mode)]));
  if (!isReady) return answers;
  for (const from of ["object", "alarm"] as const) answers.push(await reachFrom(from));
  const through = seen.find((one) => !one.isShielded && one.stoppedBy === null) ?? seen[0];
  if (through) answers.push(judgeUnconnected(through));
  return [...answers, ...(await access(asker, lab, ports))];
}

const failureMode = (mode: boolean | null): Answer => {
  const id = "failure-mode";
  if (mode === null) return unasked(id, "the API does not say");
  return mode ? other(id, "open") : expected(id, "closed: visitors get error 1027");
};

/** Microseconds, by Cloudflare's own measure of the last day. https://developers.cloudflare.com/analytics/graphql-api/tutorials/querying-workers-metrics/ */
async function cpu(asker: Asker, { sdk, installation }: Lab): Promise<Answer> {
  return asked(asker, "cpu", async () => {
    const query = `query ($account: string!, $script: string!, $since: Time!) { viewer { accounts(filter: { accountTag: $account }) {
      workersInvocationsAdaptive(limit: 1, filter: { scriptName: $script, datetime_geq: $since }) { quantiles { cpuTimeP50 cpuTimeP99 } } } } }`;
    const since = new Date(Date.now() - 86_400_000).toISOString();
    const variables = { account: installation.account.id, script: controlWorker(installation.name), since };
    const found = await sdk.post<unknown>("/graphql", { body: { query, variables } });
    const [, p50, p99] = /"cpuTimeP50":([\d.]+),"cpuTimeP99":([\d.]+)/.exec(JSON.stringify(found)) ?? [];
    if (p99 === undefined)
      return unasked("cpu", "no figures (the API token needs Account › Account Analytics › Read)");
    const words = `p50 ${(Number(p50) / 1_000).toFixed(1)} ms, p99 ${(Number(p99) / 1_000).toFixed(1)} ms in the last day`;
    return (Number(p99) <= 10_000 ? expected : other)("cpu", words);
  });
}

async function zeroTrust(asker: Asker, lab: Lab): Promise<Answer> {
  const id = "zero-trust";
  return asked(asker, id, async () => {
    try {
      await lab.sdk.zeroTrust.organizations.list({ account_id: lab.installation.account.id });
      return expected(id, "there is one");
    } catch (error) {
      if (!(error instanceof APIError) || error.status === 401 || error.status === 403) throw error;
      const made = await makeServiceToken(lab).then(() => null, wordsOf);
      await clean(lab);
      if (made === null) return expected(id, "there is none, and a service token can be made all the same");
      return other(id, `there is none, and --access is refused: ${made}`);
    }
  });
}

async function access(asker: Asker, lab: Lab, ports: Ports): Promise<Answer[]> {
  if (!lab.installation.access)
    return (["access-inside", "access-secret"] as const).map((id) =>
      unasked(id, "this installation has no --access"),
    );
  let token: ServiceToken | undefined;
  const inside = await asked(asker, "access-inside", async () => {
    const made = await makeServiceToken(lab);
    await makeEcho(lab);
    await makeAccess(lab, made);
    token = made;
    return judgeAccessInside(await settled(asker, lab, "object", ports));
  });
  if (!token) return [inside];
  const opening = token;
  return [inside, await asked(asker, "access-secret", () => accessSecret(asker, lab, opening, ports))];
}

/** A new hostname, its certificate and its application take a while to be everywhere. */
const TRIES = 12;
const PAUSE_MS = 5_000;

async function settled(
  { askInside }: Asker,
  { slot }: Lab,
  from: From,
  { sleep }: Ports,
): Promise<InsideSeen> {
  for (let tries = 1; ; tries += 1) {
    const answer = await askInside({ kind: "look", from, hostname: slot });
    if (answer.kind !== "look") throw new Error("control answered another question");
    const { seen } = answer;
    // 1016: the record is not known there yet.
    if ((seen.status !== null && seen.code !== "1016") || tries >= TRIES) return seen;
    await sleep(PAUSE_MS);
  }
}

async function accessSecret(
  { signal }: Asker,
  lab: Lab,
  token: ServiceToken,
  { fetch, sleep }: Ports,
): Promise<Answer> {
  const id = "access-secret";
  const headers = { "cf-access-client-id": token.clientId, "cf-access-client-secret": token.clientSecret };
  for (let tries = 1; tries <= TRIES; tries += 1) {
    const response = await fetch(`https://${lab.echo}/`, { headers, signal, redirect: "manual" }).catch(
      () => null,
    );
    signal.throwIfAborted();
    const text = (await response?.text()) ?? "";
    if (response?.status === 200 && text.includes('"secret":true'))
      return other(id, "it does: an app sees the secret");
    if (response?.status === 200 && text.includes('"secret":false')) return expected(id, "it does not");
    await sleep(PAUSE_MS);
  }
  return unasked(id, "the probing Worker never answered through Access");
}

/** Nothing that one question meets keeps the others from being asked; only Ctrl-C does. */
async function asked({ signal }: Asker, id: QuestionId, ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof APIError && (error.status === 401 || error.status === 403))
      return unasked(id, `the API token may not: ${wordsOf(error)}`);
    if (error instanceof APIError) return other(id, `refused: ${wordsOf(error)}`);
    return unasked(id, wordsOf(error));
  }
}
