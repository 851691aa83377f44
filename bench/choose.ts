/** What choosing costs: hostname → table → bucket → release → instance, the pure code alone. */

import { bucketOf } from "../src/domain/routing/buckets.ts";
import { chooseInstance, chooseRelease, compileRoute, type Route } from "../src/domain/routing/choose.ts";
import { visitorId } from "../src/domain/routing/cookie.ts";
import { normalHostname, splitUrl } from "../src/domain/routing/hostname.ts";
import { releaseOf, tableOf } from "../test/support/tables.ts";
import { type BenchResult, median, resultOf, rounded } from "./result.ts";

const HOSTNAMES = 100;
const INSTANCES = 20;
const CHOICES = 200_000;
const ROUNDS = 15;
const NOW = 1_790_000_000_000;

export async function run(): Promise<BenchResult> {
  const routes = new Map<string, Route>();
  for (let i = 0; i < HOSTNAMES; i += 1) {
    const hostname = `shop-${i}.example.com`;
    const origins = Array.from({ length: INSTANCES }, (_, at) => `https://sl-${i}x${at}.tunnel.example.com`);
    const releases = [
      releaseOf("r3", 500, origins),
      releaseOf("r2", 1_500, origins),
      releaseOf("r1", 8_000, origins),
    ];
    const table = tableOf([], { hostnames: [hostname], salt: `rollout-${i}`, releases, stable: "r1" });
    routes.set(hostname, compileRoute(table, null));
  }
  const requests = Array.from({ length: 1_000 }, (_, i) => ({
    url: `https://shop-${i % HOSTNAMES}.example.com/products/${i}?ref=home&page=3`,
    cookies: `session=0123456789abcdef; theme=dark; __Host-sluice_visitor=${(i * 7_919).toString(16).padStart(16, "0")}`,
  }));
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) rounds.push(chooseMany(routes, requests));
  // The first rounds run before the optimising compiler has.
  const figures = {
    choiceUs: rounded(median(rounds.slice(3)), 3),
    slowestRoundUs: rounded(Math.max(...rounds), 3),
  };
  return resultOf("choose", figures, { choiceUs: { atMost: 2 } });
}

/** Microseconds per choice. */
function chooseMany(
  routes: ReadonlyMap<string, Route>,
  requests: readonly { readonly url: string; readonly cookies: string }[],
): number {
  let chosen = 0;
  const startedAt = performance.now();
  for (let turn = 0; turn < CHOICES; turn += 1) {
    const request = requests[turn % requests.length];
    if (request === undefined) break;
    const route = routes.get(normalHostname(splitUrl(request.url).authority));
    if (route === undefined) throw new Error(`no route for ${request.url}`);
    const bucket = bucketOf(route.seed, visitorId(request.cookies, true) ?? "");
    const release = chooseRelease(route, { bucket, eligible: true }, NOW);
    if (release !== null && chooseInstance(release, { turn, isResendable: true, now: NOW }) !== null)
      chosen += 1;
  }
  const us = ((performance.now() - startedAt) * 1_000) / CHOICES;
  if (chosen !== CHOICES) throw new Error(`only ${chosen} of ${CHOICES} choices found an instance`);
  return us;
}
