import type { IncomingHttpHeaders } from "node:http";
import { type Interception, interceptionOf } from "../../src/protocol/interception.ts";

/** An answer that was read, or the beginning of it. */
export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Who at Cloudflare answered in control's place; null: nobody that shows. */
export const interceptionIn = ({ status, headers, text }: Received): Interception | null =>
  interceptionOf({
    status,
    headers: { get: (name) => headers[name]?.toString() ?? null },
    body: text,
  });

export const stoppedText = (status: number, { words, fix }: Interception): string =>
  `answered ${status}: ${words}. Mend: ${fix}`;
