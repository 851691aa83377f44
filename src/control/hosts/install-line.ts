/** The one line that makes a machine a host. The token goes by variable: arguments can be read by everyone there. */
export interface InstallLine {
  /** Control's own address. */
  readonly origin: string;
  readonly name: string;
  readonly token: string;
  /** The agent's image: as a container instead of a systemd unit. */
  readonly container?: string | undefined;
  readonly originBase?: string | undefined;
  /** Control makes tunnels, so the edge needs no other way to the host. */
  readonly hasTunnel: boolean;
}

export function installLine(line: InstallLine): string {
  const { origin, name, token, container, originBase, hasTunnel } = line;
  const base = originBase ?? (hasTunnel ? undefined : `http://<address of ${name}>`);
  const secret = `SLUICE_ENROLL_TOKEN=${token}`;
  if (container === undefined) {
    const reached = base === undefined ? "" : ` SLUICE_ORIGIN_BASE=${quoted(base)}`;
    return `curl -fsSL ${origin}/install.sh | ${secret}${reached} sh`;
  }
  const reached = base === undefined ? "" : ` --origin-base ${quoted(base)}`;
  return `${secret} docker run -d ${CONTAINER} ${quoted(container)} --url ${origin}${reached}`;
}

/** On the host's network, since it asks its instances and cloudflared on loopback. */
const CONTAINER = [
  "--name sluice-agent --init --restart unless-stopped --network host",
  "-v /var/run/docker.sock:/var/run/docker.sock -v sluice-agent:/var/lib/sluice",
  "-e SLUICE_ENROLL_TOKEN",
].join(" ");

const quoted = (text: string) => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
