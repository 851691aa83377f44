import { nameSchema } from "../../src/protocol/api/scalars.ts";
import type { Region } from "../../src/protocol/region.ts";
import { CliError } from "../io/problem.ts";
import type { Target } from "./target.ts";

/** One Sluice in one account: what it is called and where it is. Every name in the account follows from it. */
export interface Installation extends Target {
  readonly name: string;
  readonly controlHostname: string;
  readonly access: boolean;
  /** Control keeps images for hosts, in a bucket. */
  readonly images: boolean;
  /** Asked for by `--region`; null: never. Where D1 turned out to be counts more. */
  readonly region: Region | null;
}

export const controlWorker = (name: string) => `${name}-control`;
export const edgeWorker = (name: string) => `${name}-edge`;
export const databaseName = (name: string) => name;
export const namespaceTitle = (name: string) => `${name}-tables`;
export const bucketName = (name: string) => `${name}-images`;
export const serviceTokenName = (name: string) => `${name}-edge`;
export const controlUrl = ({ controlHostname }: Installation) => `https://${controlHostname}`;

/** Universal SSL has a certificate for the zone and one label below it, no deeper. */
export function checkNames({ name, controlHostname, zone }: Installation): void {
  const parsed = nameSchema.safeParse(name);
  if (!parsed.success) throw new CliError("usage", `--name ${name}: ${parsed.error.issues[0]?.message}`);
  const label = controlHostname.endsWith(`.${zone.name}`)
    ? controlHostname.slice(0, -zone.name.length - 1)
    : "";
  if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label))
    throw new CliError(
      "usage",
      `--control-hostname ${controlHostname} must be one label below ${zone.name}, such as sluice.${zone.name}: Cloudflare's certificate covers no deeper name`,
    );
}

/** Secrets that are replaced on order, and only then. */
export const ROTATIONS = ["admin-token", "secrets-key", "shield-key", "control-token"] as const;
export type Rotation = (typeof ROTATIONS)[number];
