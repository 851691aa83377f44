/**
 * Outlier ejection: an instance that keeps failing is left out for a growing time, in one edge isolate. Health is what
 * that isolate saw; whether an instance is `ready` is control's word and comes with the table.
 */
export interface InstanceHealth {
  /** Failures in a row; a good answer ends the row. */
  readonly failures: number;
  /** Epoch ms; 0 when never ejected. */
  readonly ejectedUntil: number;
  /** Ejections in a row, each twice as long as the one before. */
  readonly ejections: number;
}

export const HEALTHY: InstanceHealth = { failures: 0, ejectedUntil: 0, ejections: 0 };

export const FAILURES_TO_EJECT = 3;
const FIRST_EJECTION_MS = 1_000;
const LONGEST_EJECTION_MS = 60_000;

/** A half-open instance takes requests that can't be sent again after this long, even if no other has come to try it. */
const HALF_OPEN_MS = LONGEST_EJECTION_MS;

export function isEjected(health: InstanceHealth, now: number): boolean {
  return health.ejectedUntil > now;
}

/**
 * Whether it may get a request now. The first after an ejection is one that may be sent again if it fails (half-open); all
 * others stay away until one has succeeded.
 */
export function mayTake(health: InstanceHealth, isResendable: boolean, now: number): boolean {
  if (health === HEALTHY) return true;
  if (isEjected(health, now)) return false;
  return isResendable || health.ejections === 0 || now - health.ejectedUntil >= HALF_OPEN_MS;
}

/** A good answer. One that comes while ejected (from a request sent before) shortens nothing. */
export function afterSuccess(health: InstanceHealth, now: number): InstanceHealth {
  if (health === HEALTHY || isEjected(health, now)) return health;
  return HEALTHY;
}

/**
 * A failed answer. `others` are the instances that could carry the traffic instead, this one left out: at least half of
 * all must stay in, or the rest would drown.
 */
export function afterFailure(
  health: InstanceHealth,
  others: readonly InstanceHealth[],
  now: number,
): InstanceHealth {
  const failures = health.failures + 1;
  const limit = health.ejections > 0 ? 1 : FAILURES_TO_EJECT;
  if (failures < limit || isEjected(health, now)) return { ...health, failures };
  const ejectedOthers = others.reduce((count, other) => count + (isEjected(other, now) ? 1 : 0), 0);
  if ((ejectedOthers + 1) * 2 > others.length + 1) return { ...health, failures };
  const lengthMs = Math.min(FIRST_EJECTION_MS * 2 ** health.ejections, LONGEST_EJECTION_MS);
  return { failures: 0, ejectedUntil: now + lengthMs, ejections: health.ejections + 1 };
}
