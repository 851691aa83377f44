/**
 * Capabilities an ordinary web image needs while it starts as root: its entrypoint fixes owners (CHOWN, FOWNER,
 * DAC_OVERRIDE), drops to its user (SETUID, SETGID), binds port 80 (NET_BIND_SERVICE) and signals its workers (KILL).
 * Raw sockets, mknod, chroot and the rest are for no web app, and no-new-privileges keeps setuid binaries from asking.
 */
export const DEFAULT_CAPABILITIES = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "KILL",
  "NET_BIND_SERVICE",
  "SETGID",
  "SETUID",
];

/** Each of these is as good as root on the host itself, or on all that runs there. */
export const NEVER_CAPABILITIES: ReadonlySet<string> = new Set([
  "ALL",
  "AUDIT_CONTROL",
  "BPF",
  "DAC_READ_SEARCH",
  "MAC_ADMIN",
  "MAC_OVERRIDE",
  "PERFMON",
  "SYS_ADMIN",
  "SYS_BOOT",
  "SYS_MODULE",
  "SYS_RAWIO",
  "SYS_TIME",
  "SYSLOG",
]);
