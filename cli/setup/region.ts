import { REGIONS, type Region, regionOf } from "../../src/protocol/region.ts";
import { CliError } from "../io/problem.ts";
import type { AccountFacts } from "./facts.ts";

/** Laws' regions: https://developers.cloudflare.com/durable-objects/reference/data-location/ (jurisdictions) */
const JURISDICTIONS = ["eu", "us", "fedramp", "fedramp-high"];
/** Hints for objects that D1 does not know. Same page. */
const OBJECTS_ONLY = ["sam", "afr", "me", "apac-ne", "apac-se"];

const LIST = Object.entries(REGIONS)
  .map(([name, words]) => `${name} (${words})`)
  .join(", ");

/** The region of `--region`. Throws CliError where it is none, with those there are. */
export function parseRegion(name: string): Region {
  const region = regionOf(name);
  if (region !== null) return region;
  throw new CliError("usage", `--region ${name} ${whyNot(name.toLowerCase())}. Regions: ${LIST}`, {
    title: "unknown region",
  });
}

function whyNot(name: string): string {
  if (JURISDICTIONS.includes(name))
    return "is a jurisdiction, which binds where data is kept by law; Sluice sets none, a region only makes it near and fast";
  if (OBJECTS_ONLY.includes(name))
    return "is a place for Durable Objects alone; D1 is not placed there, and the two belong together";
  return "is no region of Cloudflare's";
}

/** Where D1 is or is to be, so that objects come there too; null: Cloudflare puts it near whoever runs setup, and says where then. */
export function regionFor(
  { database, control }: Pick<AccountFacts, "database" | "control">,
  asked: Region | null,
): Region | null {
  const set = control?.bindings.find(({ name }) => name === "REGION")?.text;
  return database?.region ?? asked ?? regionOf(typeof set === "string" ? set : null);
}

/** A place can be chosen once. Who says the same again, and got another from Cloudflare, may go on. */
export function refuseMove({ database }: AccountFacts, asked: Region | null, before: Region | null): void {
  const at = database?.region;
  if (!at || asked === null || asked === at || asked === before) return;
  throw new CliError(
    "conflict",
    `D1 is in ${at} (${REGIONS[at]}) already, and never moves: nothing is placed in ${asked} beside it. Nothing was changed.`,
    {
      title: "the installation has a region",
      next: [{ command: `sluice setup --region ${at}`, when: "its objects are to be there, too" }],
    },
  );
}
