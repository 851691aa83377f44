/** A host not heard from for this long counts as offline: nothing new is put on it. */
export const HOST_OFFLINE_MS = 90_000;

/** Its agent has not been silent for too long. */
export const isOnline = (host: { readonly lastSeenAt: number | null }, now: number): boolean =>
  host.lastSeenAt !== null && now - host.lastSeenAt < HOST_OFFLINE_MS;
