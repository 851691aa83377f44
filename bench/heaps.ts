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
 * The heaps of all isolates behind an inspector, by their names, right after a whole collection: workerd lets nobody ask for
 * one, but a snapshot of a heap begins with it.
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
  await ask(socket, { id: 1, method: "HeapProfiler.takeHeapSnapshot" });
  const answer = await ask(socket, { id: 2, method: "Runtime.getHeapUsage" });
  const { usedSize, totalSize, backingStorageSize } = usageSchema.parse(answer).result;
  socket.terminate();
  return { taken: (totalSize + backingStorageSize) / 1_048_576, used: usedSize / 1_048_576 };
}

/** Its answer. What comes before that (a snapshot's pieces, which nobody reads) has another id, or none. */
function ask(
  socket: WebSocket,
  question: { readonly id: number; readonly method: string },
): Promise<unknown> {
  const answered = new Promise<unknown>((resolve) => {
    const hear = (data: { toString(): string }) => {
      const message: unknown = JSON.parse(data.toString());
      if (!isAnswer(message, question.id)) return;
      socket.off("message", hear);
      resolve(message);
    };
    socket.on("message", hear);
  });
  socket.send(JSON.stringify(question));
  return answered;
}

const isAnswer = (message: unknown, id: number): boolean =>
  typeof message === "object" && message !== null && "id" in message && message.id === id;
