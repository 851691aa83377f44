import { z } from "zod";
import { ms } from "./wire.ts";

/** Where in an instance's log a line ends, as its runtime names it: reading on after it repeats and misses nothing. */
export const logCursorSchema = z.string().regex(/^[0-9.:]{1,40}$/);

/** One line an app wrote. */
export const logLineSchema = z.strictObject({
  /** Epoch ms. */
  at: z.number().int(),
  /** Its id, or the accessory's. */
  instance: z.string().min(1).max(128),
  /** Empty: of an accessory. */
  version: z.string().max(128),
  stream: z.enum(["stdout", "stderr"]),
  cursor: logCursorSchema,
  /** Cut to 16 KiB. */
  text: z.string().max(16_384),
});
export type LogLine = z.infer<typeof logLineSchema>;

/** Most of one chunk, but for its last line: lines, and their bytes as JSON. A body may have 1 MiB. */
export const LOG_CHUNK = { lines: 1_000, bytes: 512 * 1024 } as const;

/** `POST /agent/v1/logs/{stream}`. Sent again until it is taken: one that was taken before is not taken twice. */
export const logChunkSchema = z.strictObject({
  /** Names the chunk. */
  chunk: z.string().min(1).max(40),
  /** The first of an agent process: the answer says where to read on. */
  hello: z.boolean().default(false),
  /** Of each instance in the order it wrote them. */
  lines: z.array(logLineSchema).max(LOG_CHUNK.lines),
  /** The log was rotated away before it was read: so many bytes of it. */
  droppedBytes: ms.default(0),
  /** All that was written before has been sent; what follows was written just now. */
  live: z.boolean().default(false),
  /** The host has sent all it will. */
  end: z.boolean().default(false),
  /** Why there are no lines, or not all of them, in words. */
  problem: z.string().max(500).optional(),
});
export type LogChunk = z.input<typeof logChunkSchema>;

export const logChunkAnswerSchema = z.object({
  /** False: nobody reads any more, stop. */
  wanted: z.boolean(),
  /** False: the reader is behind. Send the same chunk again. */
  taken: z.boolean(),
  /** To a `hello`: the last line that was taken of each instance. */
  after: z.record(z.string(), logCursorSchema).optional(),
});
export type LogChunkAnswer = z.infer<typeof logChunkAnswerSchema>;
