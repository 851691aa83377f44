import { promotedImage } from "../../../domain/commands/promotion.ts";
import { authorize } from "../../http/auth.ts";
import { type AppContext, orRefuse } from "../../http/context.ts";
import { requireEnvironment } from "../../http/require.ts";
import { isReady } from "../../views/rows.ts";

/** What `from` of a new release means: image and commit of what serves in another environment of the same app. */
export async function promotion(c: AppContext, app: string, from: { environment: string; release: string }) {
  // Whoever may release here need not be allowed to look there.
  authorize(c, { role: "viewer", app, environment: from.environment });
  const { environment, releases, instances } = await requireEnvironment(c, app, from.environment);
  const live = releases.find(({ id }) => id === environment.stableReleaseId);
  const ready = instances.filter((row) => row.releaseId === live?.id && isReady(row)).length;
  const source = { environment: environment.name, replicas: environment.spec.replicas, live, ready };
  const { image, origin } = orRefuse(promotedImage(source, from.release));
  return { image, origin, git: live?.git ?? null };
}
