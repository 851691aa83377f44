import { logCursorSchema } from "../../protocol/agent/logs.ts";
import { MAX_PLACES } from "../../protocol/api/logs.ts";

/** How far a reader of logs has come: what it takes to go on elsewhere without a line lost or repeated. */
export interface Place {
  /** When the reader came, epoch ms: instances that started later are read from their first line. */
  readonly from: number;
  readonly since: number | null;
  /** By instance, the last line that was given, the one given last at the end. */
  readonly after: ReadonlyMap<string, string>;
}

/** As an event's id: `<from>/<since>/<instance>=<cursor>,…`. */
export const formatPlace = ({ from, since, after }: Place): string =>
  `${from}/${since ?? ""}/${[...after].map(([instance, cursor]) => `${instance}=${cursor}`).join(",")}`;

/** Undefined: that is no place. */
export function parsePlace(text: string): Place | undefined {
  const [, from, since, list] = /^(\d{1,15})\/(\d{0,15})\/([\w.:=,-]{0,20000})$/.exec(text) ?? [];
  if (from === undefined || list === undefined) return undefined;
  const pairs = list === "" ? [] : list.split(",").map((pair) => pair.split("=") as [string, string]);
  const isRight = ([instance, cursor, more]: readonly string[]) =>
    instance !== "" && more === undefined && logCursorSchema.safeParse(cursor).success;
  if (pairs.length > MAX_PLACES || !pairs.every(isRight)) return undefined;
  return { from: Number(from), since: since ? Number(since) : null, after: new Map(pairs) };
}
