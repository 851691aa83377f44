import { filled } from "./erb.ts";
import { type Ledger, recordOf, textOf, textsOf } from "./ledger.ts";
import { compact, type Draft, sizeOf } from "./values.ts";

/** What `docker run` is told of a role or an accessory, as `resources` and `container` have it. */
export function optionsOf(
  value: unknown,
  key: string,
  ledger: Ledger,
): { resources: Draft; container: Draft } {
  const options = recordOf(value);
  const resources: Draft = {};
  const container: Draft = {};
  for (const [name, given] of Object.entries(options)) {
    const at = `${key}.options.${name}`;
    const text = filled(textOf(given) ?? "") || undefined;
    const took = (became: string) => ledger.note("taken", at, became);
    if (name === "cpus" && text !== undefined) {
      resources.cpus = Number.isNaN(Number(text)) ? text : Number(text);
      took("resources.cpus");
    } else if (name === "memory" && sizeOf(text) !== undefined) {
      resources.memory = sizeOf(text);
      took("resources.memory");
    } else if (name === "user" && text !== undefined) {
      container.user = text;
      took("container.user");
    } else if (name === "group-add") {
      container.groups = textsOf(given);
      took("container.groups");
    } else if (name === "ulimit") {
      container.ulimits = Object.fromEntries(textsOf(given).map(limitOf));
      took("container.ulimits");
    } else if (name === "shm-size" && sizeOf(text) !== undefined) {
      container.shm = sizeOf(text);
      took("container.shm");
    } else if (name === "init" && text !== undefined) {
      container.init = text !== "false";
      took("container.init");
    } else if (name === "publish")
      ledger.note("lost", at, "no port of the host is opened; what isn't HTTP goes past Sluice");
    else ledger.note("todo", at, "`container` and `resources` have what of it there is");
  }
  return { resources: compact(resources), container: compact(container) };
}

/** `nofile=1024:4096`. */
function limitOf(line: string): [string, unknown] {
  const [name = "", limit = ""] = line.split("=");
  const [soft, hard = soft] = limit.split(":").map(Number);
  return [name, soft === hard ? soft : { soft, hard }];
}
