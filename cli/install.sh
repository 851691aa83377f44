#!/bin/sh
# Puts the command line that fits this control plane on the PATH: one file, for CI without a registry. Needs Node 20.12 or newer.
#
#   curl -fsSL <control>/cli.sh | sh
#
# By variable:
#   SLUICE_BIN   where to (~/.local/bin)
set -eu

CONTROL_URL='@CONTROL_URL@'
CLI_SHA256='@CLI_SHA256@'

die() {
  printf 'sluice: %s\n' "$*" >&2
  exit 1
}

# Cloudflare's security may stand before control, and tells no program so but by its headers.
why() {
  head=$(curl -sS --max-time 20 -o /dev/null -D - "$1" 2>/dev/null) || head=
  case "$head" in
    *[Cc][Ff]-[Mm]itigated:*)
      printf ': a challenge of Cloudflare answered, which only a browser can pass. In the zone of this hostname: switch Bot Fight Mode off, or see docs/cloudflare.md, Zone security'
      ;;
    *cloudflareaccess.com/cdn-cgi/access/login*)
      printf ': Cloudflare Access answered, and wants a login. Give this hostname a Bypass policy; see docs/cloudflare.md, Zone security'
      ;;
  esac
}

# All of it is a function, called on the last line: a download that is cut short runs nothing.
main() {
  command -v node >/dev/null || die "it needs Node 20.12 or newer, and there is no \`node\` on the PATH"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 12) ? 0 : 1)' ||
    die "it needs Node 20.12 or newer; this is $(node --version)"
  folder="${SLUICE_BIN:-${HOME:?}/.local/bin}"
  mkdir -p "$folder"
  folder=$(CDPATH='' cd -- "$folder" && pwd)
  draft=$(mktemp "$folder/.sluice.XXXXXX")
  trap 'rm -f "$draft"' EXIT
  curl -fsSL --retry 3 --max-time 120 -o "$draft" "$CONTROL_URL/cli.mjs" ||
    die "$CONTROL_URL/cli.mjs can't be read$(why "$CONTROL_URL/cli.mjs")"
  got=$(node -e 'process.stdout.write(require("node:crypto").createHash("sha256").update(require("node:fs").readFileSync(process.argv[1])).digest("hex"))' "$draft")
  [ "$got" = "$CLI_SHA256" ] ||
    die "what $CONTROL_URL/cli.mjs sent is not what this script was made for (SHA-256 $got instead of $CLI_SHA256)$(why "$CONTROL_URL/cli.mjs"); control may just have been upgraded: run the same line again"
  chmod 755 "$draft"
  mv "$draft" "$folder/sluice.mjs"
  # Node takes a file for a module by its name; the command is a line that calls it.
  printf '#!/bin/sh\nexec node "%s/sluice.mjs" "$@"\n' "$folder" >"$folder/sluice"
  chmod 755 "$folder/sluice"
  # Later steps of a GitHub or Forgejo job.
  [ -z "${GITHUB_PATH:-}" ] || printf '%s\n' "$folder" >>"$GITHUB_PATH"
  printf 'sluice %s is %s/sluice\n' "$("$folder/sluice" --version)" "$folder"
  case ":$PATH:" in
    *":$folder:"*) ;;
    *) printf 'it is not on the PATH yet:  export PATH="%s:%sPATH"\n' "$folder" '$' ;;
  esac
}

main
