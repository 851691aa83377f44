import { z } from "zod";
import { type ProcessSpec, WEB } from "../../domain/processes/process.ts";
import { parseSchedule } from "../../domain/processes/schedule.ts";
import { resourcesSchema, toResources } from "./container.ts";
import { checkDuration, commandSchema, deadline, durationSchema, envSchema, nameRule } from "./scalars.ts";

/** What runs beside the web, of the same image (`processes.<name>:`): with a `schedule` at set times, else all the time. */

const HOUR_MS = 3_600_000;
const MOST_PROCESSES = 20;
const PROCESS_NAME = /^[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?$/;

const scheduleSchema = z
  .string({ error: "must be a schedule such as `0 3 * * * Europe/Berlin`" })
  .transform((text, context) => {
    const parsed = parseSchedule(text);
    if (parsed.ok) return parsed.value;
    context.addIssue({ code: "custom", message: parsed.error });
    return z.NEVER;
  });

const replicasSchema = z.number().int().min(0).max(100);

const processSchema = z.strictObject({
  command: commandSchema,
  env: envSchema.default({}),
  resources: resourcesSchema.optional(),
  replicas: replicasSchema.optional(),
  stopGrace: durationSchema.optional(),
  at: z.enum(["live", "start"], { error: "must be live or start" }).optional(),
  handover: z.enum(["start-first", "stop-first"], { error: "must be start-first or stop-first" }).optional(),
  health: z
    .strictObject({
      command: commandSchema.optional(),
      interval: checkDuration.optional(),
      timeout: checkDuration.optional(),
      failures: z.number().int().min(1).max(100).optional(),
      deadline: deadline.optional(),
    })
    .optional(),
  schedule: scheduleSchema.optional(),
  overlap: z.enum(["skip", "queue"], { error: "must be skip or queue" }).optional(),
  deadline: deadline.optional(),
});
type Process = z.output<typeof processSchema>;

const OF_WORKERS = ["replicas", "stopGrace", "at", "handover", "health"] as const;
const OF_SCHEDULED = ["overlap", "deadline"] as const;

/** Keys of the other kind would be ignored: they are refused instead. */
function refuseMixed(process: Process, context: z.RefinementCtx): void {
  const [wrong, what] = process.schedule
    ? ([OF_WORKERS, "is of a worker, and this one has a `schedule`"] as const)
    : ([OF_SCHEDULED, "is of a process with a `schedule`"] as const);
  for (const key of wrong)
    if (process[key] !== undefined) context.addIssue({ code: "custom", path: [key], message: what });
  if (process.at === "start" && process.handover === "stop-first") {
    const message = "can't be `start` with `handover: stop-first`: it would run beside the older one";
    context.addIssue({ code: "custom", path: ["at"], message });
  }
}

export const processesSchema = z
  .record(
    z
      .string()
      .regex(PROCESS_NAME, nameRule(20))
      .refine((name) => name !== WEB, "is the app itself: its command is the manifest's `command`"),
    processSchema.superRefine(refuseMixed),
  )
  .refine((all) => Object.keys(all).length <= MOST_PROCESSES, `must have at most ${MOST_PROCESSES} processes`)
  .default({});

/** What one environment says otherwise of the manifest's processes. */
export const processChangesSchema = z
  .record(
    z.string(),
    z.strictObject({
      replicas: replicasSchema.optional(),
      /** `false`: not in this environment. */
      schedule: z.union([z.literal(false), scheduleSchema]).optional(),
      env: envSchema.optional(),
    }),
  )
  .default({});
type Changes = z.output<typeof processChangesSchema>;

/** An environment can only change what there is, and as what it is. */
export function refuseUnknownProcesses(
  manifest: {
    processes: Record<string, Process>;
    environments: Record<string, { processes: Changes }>;
  },
  context: z.RefinementCtx,
): void {
  for (const [name, { processes }] of Object.entries(manifest.environments))
    for (const [process, change] of Object.entries(processes)) {
      const path = ["environments", name, "processes", process];
      const of = Object.hasOwn(manifest.processes, process) ? manifest.processes[process] : undefined;
      if (!of) context.addIssue({ code: "custom", path, message: "is not among the manifest's `processes`" });
      else if (of.schedule && change.replicas !== undefined)
        context.addIssue({
          code: "custom",
          path: [...path, "replicas"],
          message: "is of a worker, and this one has a `schedule`",
        });
      else if (!of.schedule && change.schedule !== undefined)
        context.addIssue({
          code: "custom",
          path: [...path, "schedule"],
          message: "is of a scheduled process, and this one is a worker",
        });
    }
}

/** The processes of one environment with every default filled in. */
export function toProcesses(
  processes: Record<string, Process>,
  changes: Changes,
  stopGraceMs: number,
): Record<string, ProcessSpec> {
  const entries = Object.entries(processes).flatMap(([name, process]) => {
    const change = Object.hasOwn(changes, name) ? (changes[name] ?? {}) : {};
    if (process.schedule && change.schedule === false) return [];
    return [[name, toProcess(process, change, stopGraceMs)] as const];
  });
  return Object.fromEntries(entries);
}

function toProcess(process: Process, change: Changes[string], stopGraceMs: number): ProcessSpec {
  const base = {
    command: process.command,
    env: { ...process.env, ...change.env },
    ...(process.resources && { resources: toResources(process.resources) }),
  };
  const schedule = change.schedule || process.schedule;
  if (schedule) {
    const { overlap = "skip", deadline: deadlineMs = HOUR_MS } = process;
    return { kind: "scheduled", ...base, schedule, overlap, deadlineMs };
  }
  const { health = {} } = process;
  return {
    kind: "worker",
    ...base,
    replicas: change.replicas ?? process.replicas ?? 1,
    stopGraceMs: process.stopGrace ?? stopGraceMs,
    at: process.at ?? "live",
    handover: process.handover ?? "start-first",
    health: {
      ...(health.command && { command: health.command }),
      intervalMs: health.interval ?? 10_000,
      timeoutMs: health.timeout ?? 5_000,
      failures: health.failures ?? 3,
      deadlineMs: health.deadline ?? 60_000,
    },
  };
}
