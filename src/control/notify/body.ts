import type { Notice } from "../../domain/notify/notice.ts";

/** The body of a message, by Standard Webhooks: well under its 20 kB. */
export interface Message {
  readonly type: string;
  readonly timestamp: string;
  readonly data: {
    readonly event: number;
    readonly severity: Notice["severity"];
    /** One plain sentence. */
    readonly message: string;
    readonly app: string | null;
    readonly environment: string | null;
    readonly release: string | null;
    readonly version: string | null;
    readonly actor: string;
    /** Who started the release. */
    readonly startedBy: string | null;
    /** Since the release was asked for, ms. */
    readonly durationMs: number | null;
    /** Why it failed, in one sentence. */
    readonly reason: string | null;
    /** Of the route that the verdict names, where a release ends badly or its lines have come; absent: none is known. */
    readonly request?: RequestOfMessage;
    /** What was released, as whoever made it says; null: not said. */
    readonly source: Source | null;
    /** `run`: the CI run that made it. */
    readonly links: { readonly app?: string; readonly release?: string; readonly run?: string };
  };
}

/** A request that failed, and up to three of the app's lines of it. */
interface RequestOfMessage {
  readonly id: string;
  readonly route: string;
  readonly host: string | null;
  readonly lines: readonly string[];
  /** Why they are not lines that hold its id; null: they are. */
  readonly note: string | null;
}

export interface Source {
  /** Its web address. */
  readonly repository: string | null;
  readonly commit: string;
  /** Branch or tag. */
  readonly ref: string | null;
}
