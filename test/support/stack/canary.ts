import { parse, stringify } from "yaml";
import type { Installation } from "./installation.ts";

/** Applies an app whose releases stay at 25 % until a person says how it goes on, with v1 live and `version` on its way. */
export async function canaryUnderWay(
  sluice: Installation,
  app: string,
  version: string,
  options: { judged?: boolean } = {},
): Promise<string> {
  await sluice.deploy(app, {}, "v1");
  return nextCanary(sluice, app, version, options);
}

/** The next canary of the same app: it has 25 % when this answers. */
export async function nextCanary(
  sluice: Installation,
  app: string,
  version: string,
  { judged = false }: { judged?: boolean } = {},
): Promise<string> {
  const manifest = parse(sluice.manifest(app, {}));
  manifest.environments.production.strategy = {
    canary: {
      steps: [
        {
          weight: 25,
          ...(judged ? { bake: "10m", mirror: { weight: 20, compare: "json" } } : {}),
        },
        { pause: {} },
        { weight: 50, bake: "10m" },
        { weight: 100 },
      ],
      // Tests are about who decides, not how.
      ...(judged ? {} : { analysis: false }),
    },
  };
  manifest.environments.production.keep = "10m";
  await sluice.client.apps.apply(app, stringify(manifest));
  const { id } = await sluice.client.releases.create(
    { app, environment: "production", idempotencyKey: `${app}-${version}` },
    { version },
  );
  await sluice.reaches(app, version, ["shifting"]);
  return id;
}
