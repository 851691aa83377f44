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
  /** Distinct visitor buckets (0–9,999) that met an error here. */
  readonly erroredVisitors: readonly number[];
  /** False: traffic outside the rollout's eligible population, kept out of the baseline. */
  readonly eligible: boolean;
}

export interface MeterBatch {
  /** Environment id. */
  readonly environment: string;
  /** Cloudflare data centre, e.g. `AMS`; shards the meter. */
  readonly colo: string;
  readonly entries: readonly MeterEntry[];
}

/** The RPC surface of control that the edge's service binding reaches. Small, stable, additive only. */
export interface EdgePortRpc {
  /** `known` is the version the edge holds, or null. */
  table(hostname: string, known: number | null): Promise<import("./routing.ts").TableAnswer>;
  meter(batch: MeterBatch): Promise<void>;
}
