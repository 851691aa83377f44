/**
 * The edge against a bare pass-through Worker on the same workerd, and against nginx: same origin process, same load,
 * in alternating rounds, so that a machine's moods hit all of them alike. Ratios are the budget, not requests/s.
 * The edge is at rest (one release serves, the one before it is warm), with the default `marks: rollout`; `marked` figures
 * are those of a canary, whose answers carry marks. The budget's pass-through is the documented one, which touches no header; its
 * requests are as a Worker at Cloudflare gets them (`delivered…`), since no other reach one.
 * Beside it: `lean` figures compare with the least that can be written, `altering` ones with the documented way to set one
 * header each way.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import autocannon from "autocannon";
import { releaseOf, tableOf } from "../test/support/tables.ts";
import {
  CF_HEADER,
  cpuMs,
  type PassThrough,
  type Running,
  startEdge,
  startNginx,
  startOrigin,
  startPassThrough,
} from "./proxies.ts";
import { type BenchResult, median, resultOf, rounded } from "./result.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 11);
const ROUND_S = 2;
/** Before it is measured: the compiler's own work is not the request's. */
const WARM_REQUESTS = 20_000;
const CONNECTIONS = 32;

/** A browser's headers, with the cookie of a visitor who has been here before. */
const HEADERS = {
  host: "shop.test",
  "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "accept-language": "en-GB,en;q=0.5",
  "accept-encoding": "gzip, deflate, br",
  cookie: "session=0123456789abcdef; sluice_visitor=3f1c8a52-6a0f-4c53-9c2e-5a9f6d2b7e10; theme=dark",
  "upgrade-insecure-requests": "1",
};

/**
 * The same as a Worker at Cloudflare gets it: with what Cloudflare says of the visitor, in headers and in `cf`. (The fields as in
 * miniflare's `fallbackCf` and its default for `botManagement`.)
 */
const DELIVERED_HEADERS = {
  ...HEADERS,
  "cf-connecting-ip": "203.0.113.7",
  "cf-ipcountry": "US",
  "cf-ray": "8f2c1d3e4a5b6c7d-DFW",
  "cf-visitor": '{"scheme":"https"}',
  "x-forwarded-proto": "https",
  "x-real-ip": "203.0.113.7",
  [CF_HEADER]: JSON.stringify({
    asOrganization: "Example Networks",
    asn: 395747,
    colo: "DFW",
    city: "Austin",
    region: "Texas",
    regionCode: "TX",
    metroCode: "635",
    postalCode: "78701",
    country: "US",
    continent: "NA",
    timezone: "America/Chicago",
    latitude: "30.27130",
    longitude: "-97.74260",
    clientTcpRtt: 12,
    httpProtocol: "HTTP/2",
    requestPriority: "weight=192;exclusive=0",
    tlsCipher: "AEAD-AES128-GCM-SHA256",
    tlsVersion: "TLSv1.3",
    tlsClientAuth: {
      certPresented: "0",
      certVerified: "NONE",
      certRevoked: "0",
      certIssuerDN: "",
      certSubjectDN: "",
      certIssuerDNRFC2253: "",
      certSubjectDNRFC2253: "",
      certIssuerDNLegacy: "",
      certSubjectDNLegacy: "",
      certSerial: "",
      certIssuerSerial: "",
      certSKI: "",
      certIssuerSKI: "",
      certFingerprintSHA1: "",
      certFingerprintSHA256: "",
      certNotBefore: "",
      certNotAfter: "",
    },
    edgeRequestKeepAliveStatus: 1,
  }),
};

interface Round {
  readonly perSecond: number;
  readonly cpuUs: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

type Name = "edge" | "marked" | PassThrough;
/** One proxy under one kind of request. */
type Course = Name | "deliveredEdge" | "deliveredPass" | "deliveredMarked";

export async function run(): Promise<BenchResult> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  const running: Running[] = [];
  const keep = (proxy: Running): Running => {
    running.push(proxy);
    return proxy;
  };
  try {
    const origin = keep(await startOrigin());
    const url = `http://127.0.0.1:${origin.port}`;
    const split = (canaryBp: number) => [
      releaseOf("r2", canaryBp, [url, url]),
      releaseOf("r1", 10_000 - canaryBp, [url, url, url]),
    ];
    // As control publishes an environment that sets nothing of its own.
    const timeouts = { responseMs: 100_000 };
    const table = tableOf([], {
      releases: split(0),
      stable: "r1",
      timeouts,
      marks: "rollout",
      judged: false,
    });
    const proxies = {
      edge: keep(await startEdge("edge", table, directory)),
      pass: keep(await startPassThrough("pass", origin, directory)),
      marked: keep(await startEdge("marked", { ...table, releases: split(1_000), judged: true }, directory)),
      lean: keep(await startPassThrough("lean", origin, directory)),
      altering: keep(await startPassThrough("altering", origin, directory)),
    };
    const nginx = await startNginx(origin.port, directory);
    if (nginx !== null) keep(nginx);
    return await compare(proxies, nginx);
  } finally {
    await Promise.all(running.map((proxy) => proxy.stop()));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function compare(proxies: Record<Name, Running>, nginx: Running | null): Promise<BenchResult> {
  const courses = coursesOf(proxies);
  const names = Object.keys(courses) as Course[];
  for (const name of names) await load(courses[name], { amount: WARM_REQUESTS });
  const rounds = Object.fromEntries(names.map((name) => [name, [] as Round[]])) as Record<Course, Round[]>;
  const nginxRounds: Round[] = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    // Who goes first changes, so that a slow drift favours nobody.
    for (const name of i % 2 === 0 ? names : names.toReversed()) {
      rounds[name].push(await load(courses[name], { duration: ROUND_S }));
    }
    if (nginx !== null && i < 2)
      nginxRounds.push(await load({ proxy: nginx, headers: HEADERS }, { duration: ROUND_S }));
  }
  const throughput = (a: Course, b: Course) =>
    rounded(
      ratio(rounds[a], rounds[b], (round) => round.perSecond),
      3,
    );
  const cpu = (a: Course, b: Course) =>
    rounded(
      ratio(rounds[a], rounds[b], (round) => round.cpuUs),
      3,
    );
  const figures = {
    throughputRatio: throughput("edge", "pass"),
    cpuRatio: cpu("edge", "pass"),
    markedThroughputRatio: throughput("marked", "pass"),
    markedCpuRatio: cpu("marked", "pass"),
    deliveredThroughputRatio: throughput("deliveredEdge", "deliveredPass"),
    deliveredCpuRatio: cpu("deliveredEdge", "deliveredPass"),
    deliveredMarkedThroughputRatio: throughput("deliveredMarked", "deliveredPass"),
    deliveredMarkedCpuRatio: cpu("deliveredMarked", "deliveredPass"),
    leanThroughputRatio: throughput("edge", "lean"),
    leanCpuRatio: cpu("edge", "lean"),
    alteringThroughputRatio: throughput("edge", "altering"),
    alteringCpuRatio: cpu("edge", "altering"),
    failed: [...rounds.edge, ...rounds.deliveredEdge].reduce((sum, round) => sum + round.failed, 0),
    ...Object.assign({}, ...names.map((name) => figuresOf(name, rounds[name]))),
    ...(nginx === null ? { nginx: "skipped: nginx is not installed" } : figuresOf("nginx", nginxRounds)),
  };
  return resultOf("edge", figures, {
    deliveredThroughputRatio: { atLeast: 0.95 },
    deliveredCpuRatio: { atMost: 1.1 },
    deliveredMarkedThroughputRatio: { atLeast: 0.85 },
    deliveredMarkedCpuRatio: { atMost: 1.2 },
    failed: { atMost: 0 },
  });
}

/** The median of the rounds' ratios: neighbours in time are compared, not averages of different minutes. */
function ratio(a: readonly Round[], b: readonly Round[], pick: (round: Round) => number): number {
  return median(a.map((round, i) => pick(round) / pick(b[i] ?? round)));
}

function figuresOf(name: string, rounds: readonly Round[]): Record<string, number> {
  const of = (pick: (round: Round) => number) => median(rounds.map(pick));
  return {
    [`${name}PerSecond`]: Math.round(of((round) => round.perSecond)),
    [`${name}CpuUs`]: rounded(
      of((round) => round.cpuUs),
      1,
    ),
    [`${name}P50Ms`]: rounded(of((round) => round.p50)),
    [`${name}P99Ms`]: rounded(of((round) => round.p99)),
  };
}

interface Driven {
  readonly proxy: Running;
  readonly headers: Record<string, string>;
}

function coursesOf(proxies: Record<Name, Running>): Record<Course, Driven> {
  const bare = (name: Name): Driven => ({ proxy: proxies[name], headers: HEADERS });
  const delivered = (name: Name): Driven => ({ proxy: proxies[name], headers: DELIVERED_HEADERS });
  return {
    edge: bare("edge"),
    pass: bare("pass"),
    marked: bare("marked"),
    deliveredEdge: delivered("edge"),
    deliveredPass: delivered("pass"),
    deliveredMarked: delivered("marked"),
    lean: bare("lean"),
    altering: bare("altering"),
  };
}

/** `duration` in s, or an `amount` of requests. */
async function load(
  { proxy, headers }: Driven,
  much: { readonly duration: number } | { readonly amount: number },
): Promise<Round> {
  const before = cpuMs(proxy.pid);
  const result = await autocannon({
    url: `http://127.0.0.1:${proxy.port}/products/42?ref=home&page=3`,
    connections: CONNECTIONS,
    ...much,
    headers,
  });
  const total = result.requests.total;
  return {
    perSecond: total / result.duration,
    cpuUs: ((cpuMs(proxy.pid) - before) * 1_000) / total,
    p50: result.latency.p50,
    p99: result.latency.p99,
    failed: result.non2xx + result.errors + result.timeouts,
  };
}
