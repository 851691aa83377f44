import { volumesOf } from "../../domain/accessory.ts";
import { volumeName } from "../../domain/spec.ts";
import type { EndingView } from "../../protocol/api/endings.ts";
import { iso } from "../iso.ts";
import type { RunOnHost, WorkerOnHost } from "../store/processes/beside.ts";
import type { EnvironmentStatus } from "../store/status.ts";

interface Of {
  readonly app: string;
  /** Null: the app with all of them. */
  readonly environment: string | null;
  readonly by: string;
  readonly now: number;
}

/** An end as the API's resource: what it still waits for, and what it leaves. */
export function endingView(
  { now, ...of }: Of,
  statuses: readonly EnvironmentStatus[],
  beside: Beside,
): EndingView {
  const begun = statuses.map(({ environment }) => environment.ending).find((ending) => ending !== null);
  const at = `-a ${of.app}${of.environment === null ? "" : ` -e ${of.environment}`}`;
  return {
    app: of.app,
    environment: of.environment,
    since: iso(begun?.at ?? now),
    by: begun?.by ?? of.by,
    waitsFor: statuses.flatMap((status) => waitsFor(status, beside)),
    keeps: [...new Set(statuses.flatMap(keeps))],
    next: [{ command: `sluice audit ${at}`, when: "to see how it went" }],
  };
}

interface Beside {
  readonly workers: readonly WorkerOnHost[];
  readonly runs: readonly RunOnHost[];
}

function waitsFor(
  { environment, instances, accessories }: EnvironmentStatus,
  { workers, runs }: Beside,
): string[] {
  const isOwn = ({ environmentId }: { readonly environmentId: string }) => environmentId === environment.id;
  const hosts = new Map<string, number>();
  for (const { hostName } of instances) hosts.set(hostName, (hosts.get(hostName) ?? 0) + 1);
  return [
    ...[...hosts].map(([host, n]) => `${n} ${n === 1 ? "instance" : "instances"} on ${host}`),
    ...workers.filter(isOwn).map(({ process, hostName }) => `${process} on ${hostName}`),
    ...runs.filter(isOwn).map(({ what, hostName }) => `${what}, which runs on ${hostName}`),
    ...accessories.map(({ name, hostName, cause }) => `${name} on ${hostName}${cause ? `: ${cause}` : ""}`),
  ].map((words) => `${environment.name}: ${words}`);
}

function keeps({ environment, instances, accessories }: EnvironmentStatus): string[] {
  const { spec } = environment;
  const hosts = [...new Set(instances.map(({ hostName }) => hostName))];
  const said = environment.ending?.keeps ?? [];
  const own = (spec.volumes ?? []).flatMap(({ source }) =>
    hosts.map((host) => `${source.startsWith("/") ? source : volumeName(spec, source)} on ${host}`),
  );
  const beside = accessories.flatMap((row) =>
    volumesOf(spec, row.spec).map((volume) => `${volume} on ${row.hostName}`),
  );
  return [...said, ...own, ...beside];
}
