/** The bundles' first lines. The version is asked for by scripts, and needs none of the rest. */
import packageFile from "../package.json" with { type: "json" };

const [first, ...others] = process.argv.slice(2);
if (others.length === 0 && (first === "--version" || first === "-V")) console.log(packageFile.version);
else {
  // Node 20, the oldest that the bundles run on, lacks it.
  if (!("groupBy" in Map)) await import("core-js/actual/map/group-by.js");
  await (await import("./main.ts")).runProcess();
}
