import type { RunView } from "../../protocol/api/runs.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { RunRow } from "../store/processes/runs.ts";

export const runView = ({ run, version, host }: RunRow): RunView => ({
  id: run.id,
  process: run.process,
  release: run.releaseId,
  version,
  command: [...run.command],
  by: run.by,
  dueAt: isoOrNull(run.dueAt),
  missed: run.missed,
  state: run.state,
  cause: run.cause,
  exitCode: run.exitCode,
  logs: [...run.logs],
  host,
  createdAt: iso(run.createdAt),
  startedAt: isoOrNull(run.startedAt),
  endedAt: isoOrNull(run.endedAt),
});
