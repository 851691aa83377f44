import { z } from "zod";
import { spaceAt } from "../../host/disk.ts";
import type { ImageStore, Removal } from "../runtime.ts";
import { asOutcome, CALL_TIMEOUT_MS } from "./calls.ts";
import { type Engine, EngineError } from "./engine.ts";
import { rootOf } from "./failure.ts";
import { engineRef } from "./shipped.ts";

const imageSchema = z.object({ Id: z.string(), RepoTags: z.array(z.string()).nullish() });
const rowsSchema = z.array(z.object({ ImageID: z.string() }));

export function createDockerImages(engine: Engine): ImageStore {
  return {
    remove: (image, tags) => asOutcome(() => remove(engine, engineRef(image), tags)),
    space: async () => spaceAt(await rootOf(engine)),
  };
}

const plain = () => ({ signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });

async function remove(engine: Engine, image: string, tags: readonly string[]): Promise<Removal> {
  const found = await inspect(engine, image);
  if (!found) return "gone";
  const rows = await engine.json(rowsSchema, "GET", "/containers/json", { query: { all: "1" }, ...plain() });
  if (rows.some(({ ImageID }) => ImageID === found.Id)) return "used";
  // A tag that has moved on belongs to a newer image; one that nobody pulled here belongs to a person.
  const ours = tags.filter((tag) => found.RepoTags?.includes(tag));
  for (const reference of [...ours, image]) {
    // Without force: a container that was made since we looked keeps its image.
    if ((await untag(engine, reference)) === "used") return "used";
  }
  return "removed";
}

async function untag(engine: Engine, reference: string): Promise<Removal> {
  try {
    await engine.bytes("DELETE", `/images/${encodeURIComponent(reference)}`, plain());
    return "removed";
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 409) return "used";
    // With its last tag the engine lets the digest go, too.
    if (thrown instanceof EngineError && thrown.status === 404) return "gone";
    throw thrown;
  }
}

async function inspect(engine: Engine, image: string) {
  try {
    return await engine.json(imageSchema, "GET", `/images/${encodeURIComponent(image)}/json`, plain());
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return undefined;
    throw thrown;
  }
}
