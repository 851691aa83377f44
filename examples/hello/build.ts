import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";

/** Plain JavaScript for the image: nothing is left to strip at each start. */
mkdirSync("dist", { recursive: true });
for (const name of ["main", "healthcheck"]) {
  writeFileSync(`dist/${name}.js`, stripTypeScriptTypes(readFileSync(`${name}.ts`, "utf8")));
}
