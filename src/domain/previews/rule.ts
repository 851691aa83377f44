import type { Resources } from "../processes/process.ts";

/** What an environment says of previews that are made after it (`environments.<name>.previews`), every default filled in. */
export interface PreviewRule {
  /** With `{number}` in its first label. */
  readonly hostname: string;
  /** How long one stays after the last push. */
  readonly ttlMs: number;
  /** How many there may be at a time. */
  readonly max: number;
  /** Whether pull requests from forks get one. */
  readonly forks: boolean;
  /** Repository of their images; absent: the app's. */
  readonly image?: string;
  /** Over the environment's own; `{number}` and `{hostname}` stand for the preview's. */
  readonly env: Readonly<Record<string, string>>;
  /** The only ones they get: values of their own (`sluice secrets set --previews`), never the environment's. */
  readonly secrets: readonly string[];
  /** In the place of the environment's own. */
  readonly hosts?: Readonly<Record<string, string>>;
  readonly resources?: Resources;
  /** Whether migrations run (`hooks.expand`). */
  readonly hooks: boolean;
  /** Processes and accessories that come along, by name. */
  readonly processes: readonly string[];
  readonly accessories: readonly string[];
}
