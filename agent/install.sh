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
#   SLUICE_NODE_MIRROR    where Node comes from when this host has none (https://nodejs.org/dist)
#   SLUICE_ROOT           installs below this directory instead of / (for images and tests)
set -eu

CONTROL_URL='@CONTROL_URL@'
AGENT_SHA256='@AGENT_SHA256@'
NODE_VERSION='@NODE_VERSION@'

ROOT="${SLUICE_ROOT:-}"
PROGRAM="$ROOT/opt/sluice"
STATE="$ROOT/var/lib/sluice"
UNIT="$ROOT/etc/systemd/system/sluice-agent.service"
NODE_MIRROR="${SLUICE_NODE_MIRROR:-https://nodejs.org/dist}"

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
  systemctl daemon-reload
  systemctl enable sluice-agent.service >/dev/null 2>&1 || die "systemctl can't enable sluice-agent.service"
  systemctl restart sluice-agent.service || die "the agent does not start: journalctl -u sluice-agent"
  say "sluice: the agent runs (sha256 $AGENT_SHA256)"
  say "sluice: its log: journalctl -u sluice-agent -f"
}

check_host() {
  [ "$(id -u)" = 0 ] || die "this needs root: run it with sudo"
  [ "$(uname -s)" = Linux ] || die "this is $(uname -s): the unit is for Linux; elsewhere run the container"
  case "$(uname -m)" in
    x86_64 | amd64) ARCH=x64 ;;
    aarch64 | arm64) ARCH=arm64 ;;
    *) die "there is no agent for $(uname -m): x86_64 and aarch64 it is" ;;
  esac
  for tool in tar sha256sum sed; do
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
    curl -fsSL --retry 3 --connect-timeout 15 -o "$2" "$1" || die "$1 can't be fetched"
  else
    wget -q --tries=3 --timeout=15 -O "$2" "$1" || die "$1 can't be fetched"
  fi
}

# check_sha256 FILE EXPECTED: a file that is not what it should be is not kept.
check_sha256() {
  actual=$(sha256sum "$1" | cut -d ' ' -f 1)
  [ "$actual" = "$2" ] && return
  rm -f "$1"
  die "$1 is not what it should be: its SHA-256 is $actual, wanted $2"
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
  name="node-v$NODE_VERSION-linux-$ARCH"
  say "sluice: this host has no Node 22.18 or newer; fetching $name"
  fetch "$NODE_MIRROR/v$NODE_VERSION/SHASUMS256.txt" "$PROGRAM/SHASUMS256.txt"
  wanted=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\.tar\.gz\$/\1/p" "$PROGRAM/SHASUMS256.txt")
  [ -n "$wanted" ] || die "$NODE_MIRROR names no $name.tar.gz"
  fetch "$NODE_MIRROR/v$NODE_VERSION/$name.tar.gz" "$PROGRAM/$name.tar.gz"
  check_sha256 "$PROGRAM/$name.tar.gz" "$wanted"
  rm -rf "$PROGRAM/unpacked"
  (umask 022 && mkdir "$PROGRAM/unpacked" && tar -xzf "$PROGRAM/$name.tar.gz" -C "$PROGRAM/unpacked" --no-same-owner)
  rm -rf "$PROGRAM/node-v$NODE_VERSION"
  mv "$PROGRAM/unpacked/$name" "$PROGRAM/node-v$NODE_VERSION"
  rm -rf "$PROGRAM/unpacked" "$PROGRAM/$name.tar.gz" "$PROGRAM/SHASUMS256.txt"
  is_new_enough "$NODE" || die "the Node that was fetched does not run here (musl libc?): use \`sluice hosts enroll --container\`"
}

# The running agent keeps the file it has until it is restarted: a rename touches nothing of it.
fetch_agent() {
  fetch "$CONTROL_URL/agent/agent.mjs" "$PROGRAM/agent.new.mjs"
  check_sha256 "$PROGRAM/agent.new.mjs" "$AGENT_SHA256"
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
UMask=0077

[Install]
WantedBy=multi-user.target
UNIT
}

uninstall_agent() {
  [ "$(id -u)" = 0 ] || die "this needs root: run it with sudo"
  systemctl disable --now sluice-agent.service >/dev/null 2>&1 || true
  rm -f "$UNIT"
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
