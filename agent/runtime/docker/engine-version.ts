import { z } from "zod";
import { type Engine, EngineUnavailable } from "./engine.ts";

/** Docker 20.10: the first that names capabilities in one way only, and that works on hosts with cgroup v2. */
const NEEDED = "1.41";
const ASK_WITHIN_MS = 10_000;

const versionSchema = z.object({ Version: z.string().default("?"), ApiVersion: z.string() });

/**
 * The same engine, asked once which version it is before it is asked for anything, and again when it was away: it may have
 * come back as another. One that is too old is as good as none, and says so, rather than failing in the middle of a release.
 */
export function checkedEngine(engine: Engine): Engine {
  let checked: Promise<void> | undefined;
  const check = () => {
    checked ??= checkVersion(engine).catch((thrown) => {
      checked = undefined;
      throw thrown;
    });
    return checked;
  };
  const guarded = async <T>(call: () => Promise<T>): Promise<T> => {
    await check();
    try {
      return await call();
    } catch (thrown) {
      if (thrown instanceof EngineUnavailable) checked = undefined;
      throw thrown;
    }
  };
  return {
    address: engine.address,
    request: (...args) => guarded(() => engine.request(...args)),
    json: (...args) => guarded(() => engine.json(...args)),
    bytes: (...args) => guarded(() => engine.bytes(...args)),
    async *messages(...args) {
      await check();
      try {
        yield* engine.messages(...args);
      } catch (thrown) {
        if (thrown instanceof EngineUnavailable) checked = undefined;
        throw thrown;
      }
    },
  };
}

async function checkVersion(engine: Engine): Promise<void> {
  const signal = AbortSignal.timeout(ASK_WITHIN_MS);
  const { Version, ApiVersion } = await engine.json(versionSchema, "GET", "/version", { signal });
  if (isAtLeast(ApiVersion, NEEDED)) return;
  throw new EngineUnavailable(
    `the Docker engine at ${engine.address} is too old: it is ${Version} with API ${ApiVersion}, and this agent needs API ${NEEDED} (Docker 20.10) or newer. Upgrade Docker on this host`,
  );
}

/** Versions are two numbers, and 1.9 is older than 1.41. */
function isAtLeast(version: string, needed: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [neededMajor = 0, neededMinor = 0] = needed.split(".").map(Number);
  return major > neededMajor || (major === neededMajor && minor >= neededMinor);
}
