/**
 * WebSockets and event streams of an instance that leaves are ended one by one over its drain, so that their reconnects don't
 * come all at once when it stops. For environments that ask for it: what passes through is touched piece by piece, and each
 * connection looks now and then whether its instance still has traffic.
 */
import type { Route, RouteInstance } from "../domain/routing/choose.ts";
import type { Passage } from "./passage.ts";
import type { Tables } from "./table.ts";
import type { Visit } from "./visit.ts";

const MOST_LOOK_MS = 10_000;
/** Looks within a drain: what is left of it is what connections are spread over. */
const LOOKS_PER_DRAIN = 3;
/** Service Restart (IANA's registry of close codes): whoever gets it is to connect again. */
const RESTART = 1012;
const REASON = "this release is being replaced: connect again";
const FAREWELL = `event: sluice-restart\ndata: ${JSON.stringify({ code: RESTART, reason: REASON })}\n\n`;

/** The answer with its socket or stream held, if it is one; else the answer. */
export function hold(
  { visit, isPinned }: Passage,
  instance: RouteInstance,
  response: Response,
  tables: Tables,
): Response {
  const { sockets } = visit.route.table;
  if (sockets === undefined || isPinned) return response;
  const until = (end: Promise<unknown>) => timeToLeave(visit, instance, { tables, end });
  if (response.webSocket) return heldSocket(response, response.webSocket, until);
  const { body } = response;
  return body !== null && isEventStream(response)
    ? heldStream(response, body, { until, beatMs: lookMs(sockets) })
    : response;
}

const lookMs = ({ drainMs }: { readonly drainMs: number }): number =>
  Math.min(MOST_LOOK_MS, drainMs / LOOKS_PER_DRAIN);

/** Settles when it is this connection's turn to leave; never, if it ends before. */
type Until = (end: Promise<unknown>) => Promise<void>;

/** An encoded one would have to be decoded, and encoded again in pieces that a browser waits for. */
const isEventStream = ({ headers }: Response): boolean =>
  headers.get("content-type")?.startsWith("text/event-stream") === true &&
  headers.get("content-encoding") === null;

async function timeToLeave(
  { hostname, url, env, ctx, route }: Visit,
  instance: RouteInstance,
  { tables, end }: { readonly tables: Tables; readonly end: Promise<unknown> },
): Promise<void> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  end.then(over, over);
  const drainMs = route.table.sockets?.drainMs ?? 0;
  const everyMs = lookMs({ drainMs });
  // Not in step with the others that came with it.
  for (let pause = Math.random() * everyMs; !isOver; pause = everyMs) {
    await scheduler.wait(pause);
    if (isOver) break;
    const found =
      tables.fresh(hostname, url.target, Date.now()) ?? (await tables.find(hostname, url.target, env, ctx));
    if (typeof found === "string" || !isLeft(found, instance)) continue;
    await scheduler.wait(Math.random() * (drainMs - everyMs));
    return;
  }
  await new Promise<never>(() => {});
}

/** Its instance gets nobody new, and somebody else does who can take them. */
const isLeft = ({ dealt }: Route, { id }: RouteInstance): boolean =>
  dealt.some(({ ready }) => ready.length > 0) &&
  !dealt.some(({ instances }) => instances.some((one) => one.id === id));

function heldSocket(response: Response, app: WebSocket, until: Until): Response {
  const { 0: visitors, 1: own } = new WebSocketPair();
  const ended = Promise.withResolvers<void>();
  for (const [from, to] of [
    [app, own],
    [own, app],
  ] as const) {
    from.binaryType = "arraybuffer";
    from.accept({ allowHalfOpen: true });
    from.addEventListener("message", ({ data }) => to.send(data));
    from.addEventListener("close", ({ code, reason }) => {
      ended.resolve();
      close(to, code, reason);
      close(from, code, reason);
    });
    from.addEventListener("error", () => {
      ended.resolve();
      close(to, 1011, "the other end broke off");
    });
  }
  void until(ended.promise).then(() => {
    close(own, RESTART, REASON);
    close(app, RESTART, REASON);
  });
  // What was agreed with the app about compression is not agreed with the visitor.
  const headers = new Headers(response.headers);
  headers.delete("sec-websocket-extensions");
  return new Response(null, { status: 101, headers, webSocket: visitors });
}

/** Codes that say that there was none can't be sent (RFC 6455 §7.4.1). */
function close(socket: WebSocket, code: number, reason: string): void {
  try {
    if (code === 1005) socket.close();
    else if (code === 1006 || code === 1015) socket.close(1011, "the other end broke off");
    else socket.close(code, reason);
  } catch {
    // It is closed already.
  }
}

function heldStream(
  response: Response,
  body: ReadableStream<Uint8Array>,
  { until, beatMs }: { readonly until: Until; readonly beatMs: number },
): Response {
  const { readable, writable } = new IdentityTransformStream();
  const ended = Promise.withResolvers<void>();
  const leave = until(ended.promise).then(() => "leave" as const);
  passEvents(body, writable.getWriter(), { leave, beatMs }).then(ended.resolve, ended.resolve);
  return new Response(readable, response);
}

const encoder = new TextEncoder();
const END_OF_EVENT = /(?:\n\n|\r\r|\r\n\r\n)$/;
/** A comment, which clients pass over. Nothing else tells that a visitor has gone whom nothing is sent to. */
const BEAT = ":\n\n";

/** Passes pieces on until one ends with an event's end when it is time to leave: no event is cut. */
async function passEvents(
  body: ReadableStream<Uint8Array>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  { leave, beatMs }: { readonly leave: Promise<"leave">; readonly beatMs: number },
): Promise<void> {
  const reader = body.getReader();
  const beatIn = () => scheduler.wait(beatMs).then(() => "beat" as const);
  let beat = beatIn();
  let isDue = false;
  let tail = "\n\n";
  try {
    for (let read = reader.read(); ; ) {
      const next = await Promise.race(isDue ? [read, beat] : [read, beat, leave]);
      if (next === "leave") isDue = true;
      else if (next === "beat") {
        if (END_OF_EVENT.test(tail)) await writer.write(encoder.encode(BEAT));
        beat = beatIn();
      } else if (next.done) return await writer.close();
      else {
        await writer.write(next.value);
        tail = (tail + String.fromCharCode(...next.value.subarray(-4))).slice(-4);
        read = reader.read();
      }
      if (!isDue || !END_OF_EVENT.test(tail)) continue;
      await writer.write(encoder.encode(FAREWELL));
      await writer.close();
      return await reader.cancel();
    }
  } catch (error) {
    // The visitor has gone, or the app broke off: the other end hears of it.
    await Promise.allSettled([reader.cancel(error), writer.abort(error)]);
  }
}
