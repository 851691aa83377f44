import ipaddr from "ipaddr.js";
import { z } from "zod";
import { zoneOfSlot } from "../../domain/routing/slot.ts";
import type { ControlEnv } from "../env.ts";

/**
 * Where messages may go: public addresses only, whatever a name says of itself. Asked when a target is saved and again at
 * each try, since a name can be led elsewhere in between.
 */

type AddressEnv = Pick<ControlEnv, "NOTIFY_LOOPBACK" | "NOTIFY_RESOLVER" | "CONTROL_HOSTNAME">;

/** Names that no public resolver knows, or that resolvers answer by themselves (RFC 6761, RFC 6762, RFC 8375). */
const INTERNAL =
  /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|home\.arpa|test|invalid|example|onion)$/;
/** DNS over HTTPS: a Worker has no other way to ask. */
const RESOLVER = "https://1.1.1.1/dns-query";
const RESOLVER_WITHIN_MS = 5_000;
const [A, AAAA] = [1, 28];

/** What is wrong with an address by its looks; undefined: nothing. */
function urlProblem(text: string, env: AddressEnv): string | undefined {
  const url = URL.parse(text);
  if (!url) return "it is not a URL";
  if (isOwnLoopback(url, env)) return undefined;
  if (url.protocol !== "https:") return `it must be an https URL, and is ${url.protocol.slice(0, 10)}//`;
  if (url.username !== "" || url.password !== "") return "it carries a user name: leave it out";
  const name = hostOf(url);
  if (ipaddr.isValid(name)) return isPublic(name) ? undefined : internal(name, name);
  if (!name.includes(".") || INTERNAL.test(name)) return `${name} is a name of an internal network`;
  if (name === env.CONTROL_HOSTNAME || zoneOfSlot(name) !== null) return `${name} is Sluice's own`;
  return undefined;
}

/** What is wrong with an address, also by where its name leads right now. A resolver that does not answer is a problem, too. */
export async function targetProblem(text: string, env: AddressEnv): Promise<string | undefined> {
  const problem = urlProblem(text, env);
  const url = URL.parse(text);
  if (problem !== undefined || !url || isOwnLoopback(url, env)) return problem;
  const name = hostOf(url);
  if (ipaddr.isValid(name)) return undefined;
  try {
    const answers = await Promise.all([A, AAAA].map((type) => lookUp(env, name, type)));
    const addresses = answers.flat();
    if (addresses.length === 0) return `${name} has no address`;
    const bad = addresses.find((address) => !isPublic(address));
    return bad === undefined ? undefined : internal(name, bad);
  } catch (error) {
    return `where ${name} leads can't be found out: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The local stack has nobody to keep from this machine: it is the machine's own user who asks. An installation has a hostname of its own. */
const isOwnLoopback = (url: URL, env: AddressEnv): boolean =>
  env.NOTIFY_LOOPBACK === "allowed" &&
  env.CONTROL_HOSTNAME === undefined &&
  /^(?:127\.0\.0\.1|localhost)$/.test(url.hostname);

/** Without the brackets of IPv6 and the root's dot. */
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");

/** One that is mapped into IPv6 is judged as what it is; all other transitional kinds are nobody's target. */
const isPublic = (address: string): boolean =>
  ipaddr.isValid(address) && ipaddr.process(address).range() === "unicast";

const internal = (name: string, address: string): string =>
  name === address
    ? `${address} is an internal address`
    : `${name} leads to ${address}, which is an internal address`;

const answerSchema = z.object({
  Status: z.number(),
  Answer: z.array(z.object({ type: z.number(), data: z.string() })).default([]),
});
const NXDOMAIN = 3;

async function lookUp(env: AddressEnv, name: string, type: number): Promise<string[]> {
  const query = new URLSearchParams({ name, type: String(type) });
  const response = await fetch(`${env.NOTIFY_RESOLVER ?? RESOLVER}?${query}`, {
    headers: { accept: "application/dns-json" },
    signal: AbortSignal.timeout(RESOLVER_WITHIN_MS),
  });
  if (!response.ok) throw new Error(`the resolver answered ${response.status}`);
  const { Status, Answer } = answerSchema.parse(await response.json());
  if (Status !== 0 && Status !== NXDOMAIN) throw new Error(`the resolver said DNS error ${Status}`);
  return Answer.filter((answer) => answer.type === type).map(({ data }) => data);
}
