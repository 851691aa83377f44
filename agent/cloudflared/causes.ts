/**
 * What cloudflared's last lines mean, in words that say what to do. The first that fits wins: the later ones are often only
 * what followed from it.
 */
const CAUSES: readonly { readonly said: RegExp; readonly means: string }[] = [
  {
    said: /Unauthorized|token is not valid|Invalid tunnel secret|tunnel (?:was )?not found/i,
    means:
      "Cloudflare refuses this tunnel's token: it was rotated or the tunnel was deleted; control hands out the new one by itself, `sluice doctor` says when it can't",
  },
  {
    said: /bind: address already in use/i,
    means: "its metrics port was taken by something else: it is started again on another",
  },
  {
    said: /lookup [^ ]*argotunnel[^ ]* .*(?:no such host|server misbehaving|i\/o timeout)|failed to lookup/i,
    means:
      "this host's DNS does not resolve Cloudflare's names (argotunnel.com): look at /etc/resolv.conf and port 53",
  },
  {
    said: /dial tcp [^ ]*:7844: .*(?:timeout|refused|unreachable)|DialContext error.*7844/i,
    means: "TCP 7844 to Cloudflare is blocked: allow TCP and UDP 7844 outwards",
  },
];

const QUIC_BLOCKED =
  /failed to dial to edge with quic|failed to create quic connection|no recent network activity|quic.*timeout/i;

/** Why there is no connection, as far as the lines tell. */
export function causeOf(lines: readonly string[]): string | undefined {
  const text = lines.join("\n");
  const known = CAUSES.find(({ said }) => said.test(text));
  if (known) return known.means;
  if (QUIC_BLOCKED.test(text)) return UDP_BLOCKED;
  const last = lines.findLast((line) => /\b(?:ERR|FTL|error)\b/.test(line));
  return last && `cloudflared says: ${last.replace(/^\S+Z (?:ERR|FTL) /, "").slice(0, 300)}`;
}

const UDP_BLOCKED =
  "UDP 7844 to Cloudflare is blocked: cloudflared falls back to http2 over TCP 7844; allow UDP 7844 outwards";

/** A connection that works, but not as well as it could. */
export function drawbackOf(lines: readonly string[]): string | undefined {
  const registered = lines.filter((line) => /Registered tunnel connection/.test(line));
  const isOnHttp2 = registered.at(-1)?.includes("protocol=http2") ?? false;
  return isOnHttp2 && QUIC_BLOCKED.test(lines.join("\n")) ? UDP_BLOCKED : undefined;
}
