import { z } from "zod";
import { megabytes } from "../../host/disk.ts";

const SAID_EVERY_MS = 1_000;

export const pullMessageSchema = z.object({
  status: z.string().default(""),
  id: z.string().optional(),
  error: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).optional(),
});
type PullMessage = z.infer<typeof pullMessageSchema>;

interface Layer {
  done: boolean;
  current: number;
  total: number;
}

/** Of a layer that is being, or was, downloaded or unpacked. Other lines with an id (`v42: Pulling from …`) are of none. */
const OF_LAYER =
  /^(Pulling fs layer|Waiting|Downloading|Verifying Checksum|Download complete|Extracting|Pull complete|Already exists)$/;

/** Makes of the engine's many lines for each layer one that says how far the whole is, at most once a second. */
export function pullProgress(
  say: (message: string) => void,
  now: () => number = () => performance.now(),
): (message: PullMessage) => void {
  const layers = new Map<string, Layer>();
  let saidAt = Number.NEGATIVE_INFINITY;
  let said = "";
  return ({ id, status, progressDetail }) => {
    if (id === undefined || !OF_LAYER.test(status)) return;
    const layer = layers.get(id) ?? { done: false, current: 0, total: 0 };
    layers.set(id, layer);
    if (status === "Downloading") {
      layer.current = progressDetail?.current ?? layer.current;
      layer.total = progressDetail?.total ?? layer.total;
    }
    if (status === "Download complete") layer.current = layer.total;
    if (status === "Pull complete" || status === "Already exists") layer.done = true;
    const message = `pulling: ${summaryOf([...layers.values()])}`;
    if (message === said || now() - saidAt < SAID_EVERY_MS) return;
    saidAt = now();
    said = message;
    say(message);
  };
}

function summaryOf(layers: readonly Layer[]): string {
  const sum = (key: "current" | "total") => layers.reduce((bytes, layer) => bytes + layer[key], 0);
  const count = `${layers.filter(({ done }) => done).length} of ${layers.length} layers`;
  // Sizes come with the first bytes: before that there is nothing to add up.
  return sum("total") > 0 ? `${count}, ${megabytes(sum("current"))} of ${megabytes(sum("total"))} MB` : count;
}
