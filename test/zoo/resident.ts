import { existsSync } from "node:fs";
import type { AppOptions } from "../support/stack/installation.ts";
import type { Visitor } from "./visitor.ts";

/** An app that nobody here wrote, and what its visitors do with it. */
export interface Resident {
  readonly name: string;
  /** What it needs of this machine: programs by the Debian package that brings them. */
  readonly programs: Readonly<Record<string, string>>;
  /** Where two would be in each other's way: 1. */
  readonly replicas?: number;
  readonly options: Pick<AppOptions, "command" | "ready" | "affinity" | "env">;
  /** Once, before the first release; `data` is a folder that all its instances have in `DATA`. */
  prepare?(data: string): Promise<void>;
  /** One visit from beginning to end. What isn't as it should be throws, within a step of the visitor's. */
  visit(visitor: Visitor): Promise<void>;
}

/** Packages without which it can't be tried here. */
export const missingPackages = ({ programs }: Resident): string[] =>
  Object.entries(programs)
    .filter(([, program]) => !existsSync(program))
    .map(([name]) => name);
