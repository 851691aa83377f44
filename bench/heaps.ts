import { WebSocket } from "ws";
import { z } from "zod";

const targetsSchema = z.array(z.object({ id: z.string(), webSocketDebuggerUrl: z.string() }));
const usageSchema = z.object({
  result: z.object({ usedSize: z.number(), totalSize: z.number(), backingStorageSize: z.number() }),
});

/** Of one isolate, in MB: what its heap has taken from the system, buffers included, and what of it is in use. */
export interface Heap {
  readonly taken: number;
  readonly used: number;
}

/**
 * The heaps of all isolates behind an inspector, by their names. In use is also what nobody has collected yet, and workerd lets
 * nobody ask for a collection: with {@link collectAll} at least each one is a whole one.
 */
export async function heapsOf(port: number): Promise<Record<string, Heap>> {
  const response = await fetch(`http://127.0.0.1:${port}/json`);
  const targets = targetsSchema.parse(await response.json());
  const heaps: Record<string, Heap> = {};
  for (const { id, webSocketDebuggerUrl } of targets)
    heaps[id.replace("core:user:", "")] = await heapOf(webSocketDebuggerUrl);
  return heaps;
}

/**
 * Of every workerd that is started after this. Else an isolate's small heap may see no whole collection for hours, and what
 * wraps a request or an answer is freed by no other: it looks as if it were kept.
 */
export function collectAll(): void {
  process.env.MINIFLARE_WORKERD_V8_FLAGS ??= "--gc-global";
}

async function heapOf(url: string): Promise<Heap> {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const answered = new Promise<string>((resolve) =>
    socket.once("message", (data) => resolve(data.toString())),
  );
  socket.send(JSON.stringify({ id: 1, method: "Runtime.getHeapUsage" }));
  const { usedSize, totalSize, backingStorageSize } = usageSchema.parse(JSON.parse(await answered)).result;
  socket.terminate();
  return { taken: (totalSize + backingStorageSize) / 1_048_576, used: usedSize / 1_048_576 };
}
