import type { Child } from "hono/jsx";
import { moment, spell } from "../../domain/times.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";

/** A state's colour; its word always stands beside it. */
export type Tone = "ok" | "moving" | "warn" | "bad" | "idle";

const TONES: Partial<Record<string, Tone>> = {
  live: "ok",
  settling: "ok",
  serving: "ok",
  ready: "ok",
  online: "ok",
  running: "ok",
  done: "ok",
  failed: "bad",
  rolled_back: "bad",
  aborted: "bad",
  offline: "bad",
  queued: "idle",
  superseded: "idle",
  warm: "idle",
  draining: "idle",
  stopping: "idle",
  absent: "idle",
  stopped: "idle",
};
export const toneOf = (state: string): Tone => TONES[state] ?? "moving";

export { inWords as words } from "../../domain/state-words.ts";

export const State = ({ tone, children }: { tone: Tone; children?: Child }) => (
  <span class={`tone ${tone}`}>{children}</span>
);

/** A name that somebody else gave: whatever direction it is written in, what stands around it stays where it is. */
export const Name = ({ children }: { children?: Child }) => <bdi>{children}</bdi>;

/** Words in which `code` stands between backticks. */
export const Worded = ({ text }: { text: string }) => (
  <bdi>{text.split("`").map((part, index) => (index % 2 === 1 ? <code>{part}</code> : part))}</bdi>
);

/** A moment to come; the script counts it down. */
export const Until = ({ at, now }: { at: number; now: number }) => (
  <time datetime={new Date(at).toISOString()} title={moment(at)} data-until="">
    {at > now ? `in ${spell(Math.ceil((at - now) / 1_000) * 1_000)}` : "any moment"}
  </time>
);

/** A moment that has passed. */
export const Ago = ({ at, now }: { at: string; now: number }) => (
  <time datetime={at} title={moment(Date.parse(at))}>
    {spell(Math.max(1_000, Math.floor((now - Date.parse(at)) / 1_000) * 1_000))} ago
  </time>
);

export interface Share {
  readonly version: string;
  readonly weight: number;
  /** 0: stable; from 1: what came after it. */
  readonly fill: number;
}

/** Who has which share of the traffic, as a picture; the words stand beside it. */
export const SplitBar = ({ shares, big }: { shares: readonly Share[]; big?: boolean }) => {
  let x = 0;
  return (
    <svg class={big ? "bar big" : "bar"} viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      {shares.map(({ weight, fill }) => {
        const at = x;
        x += weight;
        return <rect x={at} width={weight} height="4" class={`fill${Math.min(fill, 2)}`} />;
      })}
    </svg>
  );
};

/** Percent as people write it. */
export const percent = (weight: number): string => `${Number(weight.toFixed(2))} %`;

export const count = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

/** When the step that a release is in goes on by itself; null: it waits for a person, for proof, or has none. */
export function goesOnAt({ step, paused, plan, state }: ReleaseView): number | null {
  if (paused) return paused.until === null ? null : Date.parse(paused.until);
  const of = step && plan.steps[step.index];
  if (!of || state !== "shifting" || step.since === null || !of.forMs) return null;
  return Date.parse(step.since) + of.forMs;
}

/** After so long a failure that nobody followed up is history. */
const FRESH_MS = 24 * 3_600_000;

/** It did not stay, and nobody has had a day yet to see to it. */
export const isNewlyFailed = ({ state, endedAt }: { state: string; endedAt: number | null }, now: number) =>
  (state === "failed" || state === "rolled_back") && now - (endedAt ?? 0) < FRESH_MS;

interface TableProps {
  readonly label: string;
  readonly heads: readonly string[];
  /** Heads of columns of numbers, which stand to the right like them. */
  readonly nums?: readonly string[];
  /** Instead of a table without rows. */
  readonly none?: Child;
  /** On a phone each row is a block of its own: its cells say by themselves what they are. */
  readonly stacks?: boolean;
  readonly children?: Child;
}

/** A table with its name for those who don't see it. */
export const Table = (props: TableProps) => {
  const rows = Array.isArray(props.children) ? props.children.flat() : [props.children];
  if (rows.filter(Boolean).length === 0) return <p class="card none">{props.none}</p>;
  return (
    <section class={props.stacks ? "table stacks" : "table"} tabindex={0} aria-label={props.label}>
      <table>
        <thead>
          <tr>
            {props.heads.map((head) => (
              <th scope="col" class={props.nums?.includes(head) ? "num" : undefined}>
                {head || <span class="sr">side</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </section>
  );
};

/** The window's icon: how far it is, and its state's colour. */
export const iconOf = (tone: Tone, weight: number): string =>
  `/assets/icon.svg?tone=${tone}&at=${Math.round(weight)}`;

const MARKS = { ok: "✓", moving: "→", warn: "‖", bad: "✗", idle: "·" } as const satisfies Record<
  Tone,
  string
>;
export const markOf = (tone: Tone): string => MARKS[tone];

/** How far a token, a trust or a webhook reaches. */
export const scope = (app: string | null, environment: string | null): string =>
  app === null ? "everything" : environment === null ? app : `${app} / ${environment}`;

/** The way back to the environment that a page is of. */
export const Up = ({ app, env }: { app: string; env: string }) => (
  <p>
    <a href={`/ui/apps/${app}/${env}`}>
      {app} / {env}
    </a>
  </p>
);
