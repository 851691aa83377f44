/**
 * Visitors are dealt to releases by bucket, 0–9,999, and a bucket is a hash of who the visitor is and of the rollout's
 * salt. Dealing goes in the table's order from bucket 0 up: whoever has a release keeps it while its weight rises.
 */
import { FULL_WEIGHT } from "./table.ts";

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** Starts a hash with the rollout's salt; `bucketOf` goes on from there, so that the salt is read once per table. */
export function seedOf(salt: string): number {
  return absorb(FNV_OFFSET, salt);
}

/** The visitor's bucket, 0–9,999: 32-bit FNV-1a, then murmur3's finaliser, without which near-equal keys crowd. */
export function bucketOf(seed: number, key: string): number {
  return finalise(absorb(seed, key)) % FULL_WEIGHT;
}

/** A visitor's number, of 32 bits: the same in every rollout, so that a new one moves nobody within a release. */
export const numberOf = (key: string): number => finalise(absorb(FNV_OFFSET, key));

/** What an instance bids for a visitor, by both their numbers: rendezvous hashing, the highest bid gets them. */
export const bidFor = (visitor: number, instance: number): number => finalise(visitor ^ instance);

/** Where each share ends: share i owns the buckets from `ends[i - 1]` (or 0) up to, not with, `ends[i]`. */
export function dealBuckets(weightsBp: readonly number[]): number[] {
  let end = 0;
  return weightsBp.map((weight) => {
    end += weight;
    return end;
  });
}

/** The index of the share that owns the bucket, or -1 when the shares end below it. */
export function shareOf(ends: readonly number[], bucket: number): number {
  for (let i = 0; i < ends.length; i += 1) {
    if (bucket < (ends[i] ?? 0)) return i;
  }
  return -1;
}

function finalise(start: number): number {
  let hash = start;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function absorb(start: number, text: string): number {
  let hash = start;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return hash;
}
