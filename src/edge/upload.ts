import type { Visit } from "./visit.ts";

/**
 * A body on its way from the visitor to the app, by the runtime's own pipe: no byte of it passes through this code. What the
 * pipe adds is whose end broke, which the failed `fetch` does not tell.
 */
export interface Upload {
  /** What the app gets. */
  readonly body: ReadableStream;
  /**
   * The pipe broke before the app's end was known to have: the visitor left. (Or the app did, amid the flow: then the runtime
   * gives both ends one error.) Set before the app's end hears of it.
   */
  isBrokenOff: boolean;
  /** Settles when the app has it all; never, when that doesn't come to pass. */
  readonly sent: Promise<void>;
}

/**
 * Starts an upload of declared length; null: this one has to go to the app as it comes, unseen. A pipe would end one of
 * unknown length as if it were whole when it broke off, and the app would take the half for all of it; and `fetch` takes no
 * body for GET but from a request.
 */
export function startUpload({ request, method, survey }: Visit): Upload | null {
  const { body } = request;
  if (body === null || survey.contentLength === null || method === "GET" || method === "HEAD") return null;
  const { readable, writable } = new FixedLengthStream(survey.contentLength);
  const piped = body.pipeTo(writable, { preventAbort: true, preventCancel: true });
  const sent = Promise.withResolvers<void>();
  const upload: Upload = { body: readable, isBrokenOff: false, sent: sent.promise };
  piped.then(sent.resolve, (error: unknown) => {
    upload.isBrokenOff = true;
    writable.abort(error).catch(() => {
      // The app's end is gone already.
    });
  });
  return upload;
}
