import { differences, volumesOf } from "../../domain/accessory.ts";
import type { AccessorySpec, EnvironmentSpec } from "../../domain/spec.ts";
import type { AccessoryView } from "../../protocol/api/accessories.ts";
import type { NextStep } from "../../protocol/problem.ts";
import { iso } from "../iso.ts";
import type { AccessoryRow } from "../store/accessories.ts";
import { hostStateOf } from "./rows.ts";

/** All of an environment's accessories as the API's resource: those that were started, and those its spec declares. */
export function accessoryViews(
  spec: EnvironmentSpec,
  rows: readonly AccessoryRow[],
  now: number,
): AccessoryView[] {
  const declared = spec.accessories ?? {};
  const names = new Set([...Object.keys(declared), ...rows.map(({ name }) => name)]);
  return [...names].sort().flatMap((name) => {
    const row = rows.find((candidate) => candidate.name === name);
    const wanted = Object.hasOwn(declared, name) ? declared[name] : undefined;
    if (row) return rowView({ spec, row, declared: wanted, now });
    return wanted ? absentView(spec, name, wanted) : [];
  });
}

const at = ({ app, environment }: EnvironmentSpec) => `-a ${app} -e ${environment}`;

/** One of which there is no row: it was never started, or is removed. */
function absentView(spec: EnvironmentSpec, name: string, wanted: AccessorySpec): AccessoryView {
  return {
    name,
    state: "absent",
    since: null,
    host: wanted.host ?? null,
    hostState: null,
    image: wanted.image,
    pinned: null,
    declared: true,
    differs: [],
    cause: null,
    job: null,
    volumes: volumesOf(spec, wanted),
    next: [{ command: `sluice accessory start ${name} ${at(spec)}`, when: "the app needs it" }],
  };
}

interface RowView {
  readonly spec: EnvironmentSpec;
  readonly row: AccessoryRow;
  readonly declared: AccessorySpec | undefined;
  readonly now: number;
}

function rowView(view: RowView): AccessoryView {
  const { spec, row, declared, now } = view;
  const { job } = row;
  const differs = declared ? differences({ spec: row.spec, host: row.hostName }, declared) : [];
  return {
    name: row.name,
    state: row.state,
    since: iso(row.stateSince),
    host: row.hostName,
    hostState: homeStateOf(row, now),
    image: row.spec.image,
    pinned: row.pinnedImage,
    declared: declared !== undefined,
    differs: [...differs],
    cause: row.cause,
    job: job && {
      id: job.id,
      action: row.action,
      state: job.state,
      progress: job.progress,
      deadlineAt: iso(job.deadlineAt),
      logs: logsOf(job.error),
    },
    volumes: volumesOf(spec, row.spec),
    next: nextOf(view, differs.length > 0),
  };
}

/** Of the host that it is on. */
export const homeStateOf = (row: AccessoryRow, now: number) =>
  hostStateOf({ removedAt: row.hostRemovedAt, lastSeenAt: row.hostSeenAt }, now);

const logsOf = (error: Record<string, unknown> | null): string[] =>
  Array.isArray(error?.logs) ? error.logs.map(String) : [];

function nextOf({ spec, row, declared, now }: RowView, differs: boolean): NextStep[] {
  const say = (action: string) => `sluice accessory ${action} ${row.name} ${at(spec)}`;
  if (homeStateOf(row, now) === "removed")
    return [
      { command: say("remove"), when: `${row.hostName} is gone: to forget it, and start it elsewhere` },
    ];
  if (row.action === "remove" && row.state === "stopping") return keptVolumes(spec, row);
  if (row.state === "failed") return [{ command: say("start"), when: "to run what is there" }];
  if (!declared) return [{ command: say("remove"), when: "nothing uses it any more; its volumes stay" }];
  if (row.state === "stopped") return [{ command: say("start"), when: "the app needs it" }];
  if (row.state === "running" && differs)
    return [{ command: say("upgrade"), when: "it should be as the manifest has it now" }];
  return [];
}

/** Nothing here ever deletes a volume: a person does, who knows that nothing in it is needed. */
function keptVolumes(spec: EnvironmentSpec, row: AccessoryRow): NextStep[] {
  const when = `on ${row.hostName}, once nothing in it is needed any more`;
  return volumesOf(spec, row.spec).map((volume) => ({
    command: volume.startsWith("/") ? `rm -r ${volume}` : `docker volume rm ${volume}`,
    when,
  }));
}
