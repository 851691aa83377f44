/** workerd's `HttpOptions.Style.host`. */
const HOST_STYLE = 0;

/** A service of workerd's own for each slot, by its origin: unlike `fetch` it sends the host of the URL that it is asked for. */
export const slotDoors = (origins: readonly string[] = []) =>
  Object.fromEntries(
    origins.map((origin) => [
      origin,
      { type: "external" as const, address: new URL(origin).host, http: { style: HOST_STYLE } } as const,
    ]),
  );
