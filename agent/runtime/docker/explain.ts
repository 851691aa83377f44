import { z } from "zod";
import type { Explained } from "../runtime.ts";
import { CALL_TIMEOUT_MS } from "./calls.ts";
import type { Engine } from "./engine.ts";
import { engineRef } from "./shipped.ts";

const platformSchema = z.object({ Os: z.string(), Architecture: z.string() });
const versionSchema = z.object({ Os: z.string(), Arch: z.string() });

const WRONG_MACHINE = /exec format error/i;
const READ_ONLY = /read-only file ?system|\bEROFS\b/i;
const FORBIDDEN = /operation not permitted|permission denied|\bEPERM\b|\bEACCES\b/i;

/** Reads out of an app's last lines what a person would take half an hour to see: it ran into a wall of its own manifest. */
export async function explain(
  engine: Engine,
  { image, container }: Explained,
  lines: readonly string[],
): Promise<string | undefined> {
  const text = lines.join("\n");
  const foreign = await otherMachine(engine, image);
  if (foreign) return foreign;
  if (WRONG_MACHINE.test(text))
    return "this host can't execute its program: is it built for another kind of machine than the image says, or a script without a #! line?";
  if (container.readOnly && (READ_ONLY.test(text) || FORBIDDEN.test(text))) {
    return "its root is read-only (container.readOnly): give it the directories it writes to, as container.tmpfs (such as /tmp) or as volumes";
  }
  if (container.capabilities && FORBIDDEN.test(text)) {
    const has = container.capabilities.join(", ") || "none";
    return `it runs with the capabilities of its manifest only (${has}): add the one it needs to container.capabilities (CHOWN, SETUID and SETGID for an entrypoint that starts as root and steps down, NET_BIND_SERVICE for a port below 1024), or leave the key out for the usual ones`;
  }
  return undefined;
}

/** Compared rather than read from the lines: an init tries a shell on what it can't execute, and says that there is none. */
async function otherMachine(engine: Engine, image: string): Promise<string | undefined> {
  const plain = { signal: AbortSignal.timeout(CALL_TIMEOUT_MS) };
  try {
    const its = await engine.json(
      platformSchema,
      "GET",
      `/images/${encodeURIComponent(engineRef(image))}/json`,
      plain,
    );
    const ours = await engine.json(versionSchema, "GET", "/version", plain);
    const [built, runs] = [`${its.Os}/${its.Architecture}`, `${ours.Os}/${ours.Arch}`];
    if (built === runs) return undefined;
    return `the image is for ${built}, and this host is ${runs}: build it for that, too (docker buildx build --platform ${runs})`;
  } catch {
    // Decorates an error that is told in any case.
    return undefined;
  }
}
