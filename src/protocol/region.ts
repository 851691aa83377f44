/**
 * Where D1 and Durable Objects can both be placed, as Cloudflare calls it: a hint each, given when the thing is made, which then stays
 * there for good. https://developers.cloudflare.com/d1/configuration/data-location/,
 * https://developers.cloudflare.com/durable-objects/reference/data-location/ (November 2026)
 */
export const REGIONS = {
  wnam: "western North America",
  enam: "eastern North America",
  weur: "western Europe",
  eeur: "eastern Europe",
  apac: "Asia and Pacific",
  oc: "Oceania",
} as const;
export type Region = keyof typeof REGIONS;
export const REGION_NAMES = Object.keys(REGIONS) as Region[];

/** The region of a name in any case, as D1 gives it in capitals; null: it is none. */
export function regionOf(name: string | undefined | null): Region | null {
  const lower = name?.toLowerCase();
  return lower !== undefined && Object.hasOwn(REGIONS, lower) ? (lower as Region) : null;
}
