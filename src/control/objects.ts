import { type Region, regionOf } from "../protocol/region.ts";
import type { ControlEnv } from "./env.ts";

interface Objects<T> {
  getByName(name: string, options?: { readonly locationHint?: Region }): T;
}

/**
 * The object of a name. Whoever asks first makes it: beside D1, where `REGION` says so, and else near the asker, which may be a CI job
 * on another continent. It never moves, so there is no other way to an object than this.
 */
export function objectIn<T>(objects: Objects<T>, name: string, { REGION }: Pick<ControlEnv, "REGION">): T {
  const locationHint = regionOf(REGION);
  return locationHint === null ? objects.getByName(name) : objects.getByName(name, { locationHint });
}

/** The meter's objects as {@link objectIn} finds them. */
export const metersOf = (env: Pick<ControlEnv, "METER" | "REGION">) => ({
  getByName: (name: string) => objectIn(env.METER, name, env),
});
