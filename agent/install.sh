#!/bin/sh
# Installs or upgrades Sluice's agent on this host, as a systemd unit. Run as root; running it again upgrades in place:
# containers and cloudflared run on, and the host stays enrolled.
#
#   curl -fsSL <control>/install.sh | SLUICE_ENROLL_TOKEN=sle_… sh
#   curl -fsSL <control>/install.sh | sh                    upgrades
#   curl -fsSL <control>/install.sh | sh -s -- --uninstall
#
# By variable:
#   SLUICE_ENROLL_TOKEN   one-time token of `sluice hosts enroll`; only needed the first time
#   SLUICE_ORIGIN_BASE    how the edge reaches this host without a tunnel, e.g. http://10.0.0.7
#   SLUICE_PORT_BASE      host port of slot 0 (20000)
#   SLUICE_NODE_MIRROR    where Node comes from when this host has none (https://registry.npmjs.org)
#   SLUICE_ROOT           installs below this directory instead of / (for images and tests)
set -eu
# Where iptables and useradd are; not on every root's PATH.
PATH="$PATH:/usr/sbin:/sbin"

CONTROL_URL='@CONTROL_URL@'
AGENT_SHA256='@AGENT_SHA256@'
NODE_VERSION='@NODE_VERSION@'
# SHA-512 of node-linux-<arch>-<version>.tgz, npm's build of that very version: whoever has the mirror can't choose another.
NODE_SHA512_X64='de750bb336795f47dc898a46d2de93add029273027f3e16520d3fa3a2317ed5f07aefa404cf37ddfa5352e545e389ae22d16b87bcc84a900580a72f23cd02ced'
NODE_SHA512_ARM64='1692513c4cf63afbd32df8c83a5346158f492cf30a825e66f9de2819804b836e242759a6bcdd5997f1cf2601781c3689e752127afd65d5c459fc333e91e5d6e6'

ROOT="${SLUICE_ROOT:-}"
PROGRAM="$ROOT/opt/sluice"
STATE="$ROOT/var/lib/sluice"
UNIT="$ROOT/etc/systemd/system/sluice-agent.service"
EGRESS_UNIT="$ROOT/etc/systemd/system/sluice-cloudflared-egress.service"
TUNNEL_UNIT="$ROOT/etc/systemd/system/sluice-cloudflared@.service"
# Whom cloudflared runs as: nobody else, so that the host's firewall can tell its packets.
TUNNEL_USER=sluice-cloudflared
NODE_MIRROR="${SLUICE_NODE_MIRROR:-https://registry.npmjs.org}"

say() { printf '%s\n' "$*"; }
die() {
  printf 'sluice: %s\n' "$*" >&2
  exit 1
}

# All of it is a function, called on the last line: a download that is cut short runs nothing.
main() {
  case "${1:-}" in
    '') install_agent ;;
    --uninstall) uninstall_agent ;;
    *) die "unknown option $1: there is only --uninstall" ;;
  esac
}

install_agent() {
  check_host
  umask 077
  mkdir -p "$STATE"
  (umask 022 && mkdir -p "$PROGRAM" "$(dirname "$UNIT")")
  find_node
  fetch_agent
  enroll_host
  write_unit
  write_tunnel_unit
  systemctl daemon-reload
  systemctl enable --now sluice-cloudflared-egress.service >/dev/null 2>&1 ||
    die "the rule for cloudflared's packets can't be set: systemctl status sluice-cloudflared-egress"
  systemctl enable sluice-agent.service >/dev/null 2>&1 || die "systemctl can't enable sluice-agent.service"
  systemctl restart sluice-agent.service || die "the agent does not start: journalctl -u sluice-agent"
  say "sluice: the agent runs (sha256 $AGENT_SHA256)"
  say "sluice: its log: journalctl -u sluice-agent -f"
}

check_host() {
  [ "$(id -u)" = 0 ] || die "this needs root: run it with sudo"
  [ "$(uname -s)" = Linux ] || die "this is $(uname -s): the unit is for Linux; elsewhere run the container"
  case "$(uname -m)" in
    x86_64 | amd64) ARCH=x64 NODE_SHA512=$NODE_SHA512_X64 ;;
    aarch64 | arm64) ARCH=arm64 NODE_SHA512=$NODE_SHA512_ARM64 ;;
    *) die "there is no agent for $(uname -m): x86_64 and aarch64 it is" ;;
  esac
  for tool in tar sha256sum sha512sum sed; do
    command -v "$tool" >/dev/null || die "this host has no $tool: install it"
  done
  command -v curl >/dev/null || command -v wget >/dev/null || die "this host has neither curl nor wget: install one"
  command -v systemctl >/dev/null || die "this host has no systemd: use \`sluice hosts enroll --container\`"
  [ -n "$ROOT" ] || [ -d /run/systemd/system ] || die "systemd does not run here: use \`sluice hosts enroll --container\`"
  [ -S /var/run/docker.sock ] || [ -n "${DOCKER_HOST:-}" ] ||
    die "no Docker engine at /var/run/docker.sock: install one (https://docs.docker.com/engine/install/) and run this again"
}

# fetch URL FILE
fetch() {
  if command -v curl >/dev/null; then
    curl -fsSL --retry 3 --connect-timeout 15 -o "$2" "$1" || die "$1 can't be fetched$(why "$1")"
  else
    wget -q --tries=3 --timeout=15 -O "$2" "$1" || die "$1 can't be fetched$(why "$1")"
  fi
}

# Cloudflare's security may stand before control, and tells no program so but by its headers.
why() {
  head=$(curl -sS --max-time 20 -o /dev/null -D - "$1" 2>/dev/null || wget -qS --max-redirect=0 --tries=1 --timeout=15 -O /dev/null "$1" 2>&1 || :)
  case "$head" in
    *[Cc][Ff]-[Mm]itigated:*)
      printf ': a challenge of Cloudflare answered, which only a browser can pass. In the zone of this hostname: switch Bot Fight Mode off, or see docs/cloudflare.md, Zone security'
      ;;
    *cloudflareaccess.com/cdn-cgi/access/login*)
      printf ': Cloudflare Access answered, and wants a login. Give this hostname a Bypass policy; see docs/cloudflare.md, Zone security'
      ;;
  esac
}

# check_sum 256|512 FILE EXPECTED: a file that is not what it should be is not kept.
check_sum() {
  actual=$("sha$1sum" "$2" | cut -d ' ' -f 1)
  [ "$actual" = "$3" ] && return
  rm -f "$2"
  die "$2 is not what it should be: its SHA-$1 is $actual, wanted $3"
}

# Sets NODE. A Node in somebody's home can't be seen by the unit.
find_node() {
  NODE=$(command -v node || true)
  [ -z "$NODE" ] || NODE=$(readlink -f "$NODE")
  case "$NODE" in
    '' | /home/* | /root/*) ;;
    *) if is_new_enough "$NODE"; then return; fi ;;
  esac
  NODE="$PROGRAM/node-v$NODE_VERSION/bin/node"
  [ -x "$NODE" ] && is_new_enough "$NODE" && return
  fetch_node
}

is_new_enough() {
  "$1" -e 'const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 22 || (major === 22 && minor >= 18) ? 0 : 1)' 2>/dev/null
}

fetch_node() {
  name="node-linux-$ARCH-$NODE_VERSION"
  say "sluice: this host has no Node 22.18 or newer; fetching $name"
  fetch "$NODE_MIRROR/node-linux-$ARCH/-/$name.tgz" "$PROGRAM/$name.tgz"
  check_sum 512 "$PROGRAM/$name.tgz" "$NODE_SHA512"
  rm -rf "$PROGRAM/unpacked"
  (umask 022 && mkdir "$PROGRAM/unpacked" && tar -xzf "$PROGRAM/$name.tgz" -C "$PROGRAM/unpacked" --no-same-owner)
  rm -rf "$PROGRAM/node-v$NODE_VERSION"
  mv "$PROGRAM/unpacked/package" "$PROGRAM/node-v$NODE_VERSION"
  rm -rf "$PROGRAM/unpacked" "$PROGRAM/$name.tgz"
  is_new_enough "$NODE" || die "the Node that was fetched does not run here (musl libc?): use \`sluice hosts enroll --container\`"
}

# The running agent keeps the file it has until it is restarted: a rename touches nothing of it.
fetch_agent() {
  fetch "$CONTROL_URL/agent/agent.mjs" "$PROGRAM/agent.new.mjs"
  check_sum 256 "$PROGRAM/agent.new.mjs" "$AGENT_SHA256"
  "$NODE" "$PROGRAM/agent.new.mjs" --version >/dev/null || die "the new agent does not run on $NODE; nothing was changed"
  chmod 755 "$PROGRAM/agent.new.mjs"
  mv "$PROGRAM/agent.new.mjs" "$PROGRAM/agent.mjs"
}

# The line of the first time, run again, upgrades: its token is used up. One that is good makes another host of this machine.
enroll_host() {
  if [ -f "$STATE/credentials.json" ]; then
    [ -n "${SLUICE_ENROLL_TOKEN:-}" ] && ask_to_enroll 2>/dev/null && say "sluice: this host was enrolled anew" && return
    say "sluice: this host is enrolled already: its credentials stay as they are"
    return
  fi
  [ -n "${SLUICE_ENROLL_TOKEN:-}" ] ||
    die "this host is not enrolled: set SLUICE_ENROLL_TOKEN as \`sluice hosts enroll <name>\` prints it"
  ask_to_enroll || exit 1
}

ask_to_enroll() {
  set -- enroll --state "$STATE" --url "$CONTROL_URL"
  [ -z "${SLUICE_ORIGIN_BASE:-}" ] || set -- "$@" --origin-base "$SLUICE_ORIGIN_BASE"
  [ -z "${SLUICE_PORT_BASE:-}" ] || set -- "$@" --port-base "$SLUICE_PORT_BASE"
  # The token goes by variable: arguments can be read by everyone on this host.
  SLUICE_ENROLL_TOKEN="$SLUICE_ENROLL_TOKEN" "$NODE" "$PROGRAM/agent.mjs" "$@"
}

write_unit() {
  (umask 022 && unit_text >"$UNIT.new")
  mv "$UNIT.new" "$UNIT"
}

# A host without the program runs cloudflared as a container; one that gets it later is to run this script again.
write_tunnel_unit() {
  CLOUDFLARED=$(command -v cloudflared || true)
  find_port_base
  command -v iptables-restore >/dev/null || die "this host has no iptables, which keeps cloudflared to its ports: install it"
  [ -n "$ROOT" ] || id "$TUNNEL_USER" >/dev/null 2>&1 ||
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$TUNNEL_USER" ||
    die "the user $TUNNEL_USER can't be made"
  (umask 022 && egress_text >"$PROGRAM/cloudflared-egress" && chmod 755 "$PROGRAM/cloudflared-egress")
  # Of the container, whose user is this number (agent/cloudflared/container.ts).
  (umask 022 && egress_unit_text >"$EGRESS_UNIT")
  [ -n "$CLOUDFLARED" ] || return 0
  CLOUDFLARED=$(readlink -f "$CLOUDFLARED")
  (umask 022 && tunnel_unit_text >"$TUNNEL_UNIT.new")
  mv "$TUNNEL_UNIT.new" "$TUNNEL_UNIT"
}

# Sets BASE, the port of slot 0: as it is said now, or was when this host was enrolled. A host of before says it by its instances.
find_port_base() {
  BASE=${SLUICE_PORT_BASE:-}
  [ -n "$BASE" ] || [ ! -f "$STATE/port-base" ] || BASE=$(cat "$STATE/port-base")
  if [ -z "$BASE" ]; then
    BASE=20000
    port=$(sed -n 's/.*"hostPort":\([0-9][0-9]*\).*/\1/p' "$STATE/journal.json" 2>/dev/null | head -n 1)
    [ -z "$port" ] || { [ "$port" -ge 20000 ] && [ "$port" -le 20255 ]; } ||
      die "an instance here has port $port: run this again with SLUICE_PORT_BASE, as this host was enrolled with"
  fi
  echo "$BASE" >"$STATE/port-base"
}

# Slots have at most 256 ports from the base on.
egress_text() {
  cat <<EGRESS
#!/bin/sh
# Keeps a user to what cloudflared needs: Cloudflare's tunnel servers, name servers, and the ports of this host's slots.
# Whatever an ingress rule names besides (a database on loopback, the cloud's metadata, a neighbour) can't be reached.
# Each table is replaced at once; run by root before each start, or by hand: cloudflared-egress [user]
set -eu
PATH="\$PATH:/usr/sbin:/sbin"
ports=$BASE:$((BASE + 255))
user=\${1:-$TUNNEL_USER}
rules() {
  cat <<RULES
*filter
:SLUICE-CLOUDFLARED - [0:0]
-A SLUICE-CLOUDFLARED -m conntrack --ctstate ESTABLISHED -j RETURN
\$slots
-A SLUICE-CLOUDFLARED -p udp --dport 53 -j RETURN
-A SLUICE-CLOUDFLARED -p tcp --dport 53 -j RETURN
RULES
  for network in "\$@"; do
    for protocol in tcp udp; do
      echo "-A SLUICE-CLOUDFLARED -d \$network -p \$protocol --dport 7844 -j RETURN"
    done
  done
  echo "-A SLUICE-CLOUDFLARED -j REJECT"
  echo COMMIT
}
# By what was asked for: an engine without its proxy has sent it on to the container by now.
slots="-A SLUICE-CLOUDFLARED -p tcp -m conntrack --ctorigdst 127.0.0.0/8 --ctorigdstport \$ports -j RETURN"
rules 198.41.128.0/17 162.158.0.0/15 | iptables-restore -w --noflush
slots="-A SLUICE-CLOUDFLARED -p tcp -o lo --dport \$ports -j RETURN"
rules 2606:4700::/32 | ip6tables-restore -w --noflush
for table in iptables ip6tables; do
  \$table -w -C OUTPUT -m owner --uid-owner "\$user" -j SLUICE-CLOUDFLARED 2>/dev/null ||
    \$table -w -I OUTPUT 1 -m owner --uid-owner "\$user" -j SLUICE-CLOUDFLARED
done
EGRESS
}

egress_unit_text() {
  cat <<UNIT
[Unit]
Description=Egress rule of Sluice's cloudflared containers
Before=docker.service sluice-agent.service
After=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$PROGRAM/cloudflared-egress 64653

[Install]
WantedBy=multi-user.target
UNIT
}

tunnel_unit_text() {
  cat <<UNIT
[Unit]
Description=Sluice tunnel connector %i
Documentation=$CONTROL_URL/api/docs
After=network-online.target

[Service]
Type=exec
# Started and ended by the agent, which looks after it: one that ends is started again by it, under another name.
Restart=no
ExecStartPre=+$PROGRAM/cloudflared-egress $TUNNEL_USER
ExecStart=$CLOUDFLARED tunnel --no-autoupdate --metrics 127.0.0.1:\${METRICS_PORT} --grace-period 150s run
EnvironmentFile=$STATE/cloudflared/%i.env
LoadCredential=token:$STATE/cloudflared/%i.token
Environment=TUNNEL_TOKEN_FILE=/run/credentials/%n/token
StandardOutput=append:$STATE/cloudflared/%i.log
StandardError=inherit
KillSignal=SIGTERM
TimeoutStopSec=165
MemoryMax=1G
TasksMax=512
LimitNOFILE=65536

# Ingress rules come from Cloudflare: whoever may write them must not get further than the slots.
User=$TUNNEL_USER
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
# No AF_UNIX: an ingress rule may name a socket, and one of those is Docker's.
RestrictAddressFamilies=AF_INET AF_INET6
ProtectSystem=strict
ProtectHome=yes
InaccessiblePaths=-/run/docker.sock -/run/containerd
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateMounts=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
UNIT
}

unit_text() {
  cat <<UNIT
[Unit]
Description=Sluice agent
Documentation=$CONTROL_URL/api/docs
After=network-online.target docker.service
Wants=network-online.target

[Service]
Type=exec
ExecStart=$NODE --max-semi-space-size=1 --optimize-for-size $PROGRAM/agent.mjs run --state $STATE --log json
# DOCKER_HOST, proxies, TUNNEL_TRANSPORT_PROTOCOL and the like.
EnvironmentFile=-$ROOT/etc/sluice/agent.env
# Logins at registries are read from root's ~/.docker.
Environment=HOME=/root
Restart=always
RestartSec=2
TimeoutStopSec=15
# Only the agent ends with its unit: cloudflared carries traffic, and the next agent takes it up.
KillMode=process
# One that runs out of memory is no reason to end the other.
OOMPolicy=continue
MemoryMax=1G
TasksMax=512
LimitNOFILE=65536

# Root without root's powers: what it needs is its state, the engine's socket, the network, and to look where volumes lead.
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=$STATE
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
UNIT
}

uninstall_agent() {
  [ "$(id -u)" = 0 ] || die "this needs root: run it with sudo"
  systemctl disable --now sluice-agent.service >/dev/null 2>&1 || true
  rm -f "$UNIT"
  # A connector that runs keeps what it was started with.
  systemctl disable sluice-cloudflared-egress.service >/dev/null 2>&1 || true
  rm -f "$TUNNEL_UNIT" "$EGRESS_UNIT"
  systemctl daemon-reload || true
  rm -rf "$PROGRAM"
  say "sluice: the agent is removed. Left, because they may carry traffic or hold data:"
  say "  containers   docker ps --filter label=sluice.host   and their volumes"
  say "  cloudflared  $(cloudflared_left)"
  say "  state        rm -r $STATE   (this host's credentials)"
  say "and at control: sluice hosts remove <name>"
}

cloudflared_left() {
  pids=''
  for record in "$STATE"/cloudflared/*.json; do
    [ -f "$record" ] || continue
    pid=$(sed -n 's/.*"pid":\([0-9][0-9]*\).*/\1/p' "$record")
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && pids="$pids $pid"
  done
  if [ -n "$pids" ]; then say "kill$pids"; else say "docker rm -f \$(docker ps -q --filter label=sluice.cloudflared)"; fi
}

main "$@"
