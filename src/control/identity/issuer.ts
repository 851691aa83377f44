import { isPrivateWay } from "../../protocol/address.ts";

/** Names that lead into some network of one's own (RFC 6761, 6762, 9476 and what clouds use). */
const INTERNAL = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|home\.arpa|test|invalid)$/;
const IP = /^(?:[\d.]+|\[.*\])$/;

/**
 * Why keys are not read from an address; undefined: they may be. `isLocal`: control itself runs on this machine, where a
 * stand-in may, too.
 */
export function issuerProblem(address: string, isLocal: boolean): string | undefined {
  const url = URL.parse(address);
  if (url?.username !== "" || url.search !== "" || url.hash !== "")
    return `\`${address}\` is no issuer's address`;
  if (isLocal && url.protocol === "http:" && isPrivateWay(url)) return undefined;
  if (url.protocol !== "https:")
    return `${address} is not https: whoever is on the way could give keys of their own`;
  const { hostname } = url;
  if (IP.test(hostname))
    return `${address} is a number, not a name: an issuer is known by its certificate's name`;
  if (!hostname.includes(".") || INTERNAL.test(hostname))
    return `${hostname} is a name of some inner network: control reads keys from public names alone`;
  return undefined;
}

/** Whether control itself is asked on this machine. */
export const isLocalControl = (requestUrl: string): boolean => new URL(requestUrl).protocol === "http:";
