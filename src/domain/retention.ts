/** How long rows of what is over are kept, ms. What runs, is on its way, or may be rolled back to is kept in any case. */
export interface Retention {
  readonly jobsMs: number;
  /** After the release ended. */
  readonly verdictsMs: number;
  readonly eventsMs: number;
  readonly releasesMs: number;
  /** Releases that served, the last ones, are kept however old they are. */
  readonly servedAtLeast: number;
}

const DAY_MS = 86_400_000;

/** A quarter's judgements for whoever looks back; a year and a month of releases and events for audits and yearly figures. */
export const KEPT_BY_DEFAULT: Retention = {
  jobsMs: 14 * DAY_MS,
  verdictsMs: 90 * DAY_MS,
  eventsMs: 400 * DAY_MS,
  releasesMs: 400 * DAY_MS,
  servedAtLeast: 20,
};
