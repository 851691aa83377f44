import type { Compared } from "./compare.ts";

/**
 * What the edge counted, on its way to control. Latency histograms are canary.md §3's: 112 buckets, bucket i holds
 * [2^(i/8), 2^((i+1)/8)) ms, of answers that were not errors.
 */
export const HISTOGRAM_BUCKETS = 112;
/** Windows lie on a fixed grid of the epoch, so that every isolate's counts fall into the same ones. */
export const WINDOW_MS = 10_000;

/** Counts of one instance in one window, as one edge isolate saw them. */
export interface MeterEntry {
  readonly release: string;
  readonly instance: string;
  /** Epoch ms of the window's start, a multiple of WINDOW_MS. */
  readonly window: number;
  /** Requests sent to this instance, before rescue: what the release itself did. */
  readonly requests: number;
  /** Of those: 5xx, timeouts, connection failures. */
  readonly errors: number;
  /** Of the errors: ones that provably are the path's (tunnel down), not the app's. */
  readonly pathErrors: number;
  /** Answers by class: index 0 = no answer at all, 1–5 = 1xx–5xx. */
  readonly classes: readonly [number, number, number, number, number, number];
  /** Requests first sent here whose visitor got a good answer from elsewhere. */
  readonly rescued: number;
  /** Requests first sent here whose visitor saw an error in the end. */
  readonly failed: number;
  /** Sparse [bucket, count]. */
  readonly latency: readonly (readonly [number, number])[];
  /** Distinct visitor buckets (0–9,999) that met an error of the app here. */
  readonly erroredVisitors: readonly number[];
  /** False: traffic outside the rollout's eligible population, kept out of the baseline. */
  readonly eligible: boolean;
  /** Control's own requests, no visitor's. Absent: visitors'. */
  readonly synthetic?: true;
  /** By route, while traffic is split among eligible visitors; absent otherwise. */
  readonly routes?: readonly RouteEntry[];
}

/** Counts of one route (route-name.ts), without what the path lost. */
export interface RouteEntry {
  readonly route: string;
  readonly requests: number;
  readonly errors: number;
  /** Distinct visitor buckets that met an error. */
  readonly visitors: readonly number[];
  /** `X-Request-Id` of the newest that failed, as the app got it; absent: none did. */
  readonly failedId?: string | undefined;
}

/** Answers of a release under test against stable's. Visitors never saw these. */
export interface MirrorEntry {
  readonly release: string;
  readonly window: number;
  /** Absent, from an older edge: nothing was compared. */
  readonly compared?: Compared;
}

/** Entries are increments since the isolate's last batch: control adds them up. */
export interface MeterBatch {
  /** Unique. A batch whose acknowledgement was lost comes again under the same id, and must not count twice. */
  readonly id: string;
  /** Environment id. */
  readonly environment: string;
  /** Cloudflare data centre, e.g. `AMS`; shards the meter. */
  readonly colo: string;
  /** While a release is judged each batch is stored before it is acknowledged. Absent, from an older edge: it is. */
  readonly judged?: boolean;
  /** Many of a watched release's answers were errors: whoever judges it is to look now. */
  readonly urgent?: true;
  readonly entries: readonly MeterEntry[];
  readonly mirrored: readonly MirrorEntry[];
}

/** The window a moment falls into. */
export const windowOf = (now: number): number => now - (now % WINDOW_MS);

/** The latency bucket of a duration in ms: floor(8·log2 ms), kept within the histogram. */
export function latencyBucket(ms: number): number {
  if (ms <= 1) return 0;
  return Math.min(HISTOGRAM_BUCKETS - 1, Math.floor(8 * Math.log2(ms)));
}

/**
 * Of an answer that is not there after it, the edge tells a judge so by then, as a time in the histogram: a step may be over
 * before it comes, and its visitor gone. When it comes, it is counted as any other.
 */
export const LATE_MS = 5_000;

/** The RPC surface of control that the edge's service binding reaches. Small, stable, additive only. */
export interface EdgePortRpc {
  /** `known` is the version the edge holds, or null. */
  table(hostname: string, known: number | null): Promise<import("./table.ts").TableAnswer>;
  meter(batch: MeterBatch): Promise<void>;
}
