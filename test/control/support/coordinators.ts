import type { ControlEnv } from "../../../src/control/env.ts";
import type {
  CoordinatorPort,
  CoordinatorView,
  CreateReleaseInput,
  RollbackOutcome,
} from "../../../src/control/environment/coordinator-port.ts";
import type { Refusal } from "../../../src/control/refusal.ts";
import { err, ok, type Result } from "../../../src/domain/result.ts";

const IDLE: CoordinatorView = {
  table: { version: 0, publishedAt: null },
  traffic: {},
  verdict: null,
  windows: [],
};

/** Stands in for every environment's coordinator. Its own tests are beside it: here only what is asked of it counts. */
export class FakeCoordinators {
  readonly asked: { readonly environment: string; readonly what: string; readonly input: unknown }[] = [];
  view: CoordinatorView = IDLE;
  refusal: Refusal | undefined;
  /** What the next releases are answered with. */
  /** Whether `release` is one that wasn't there. */
  isNew = true;
  release: (input: CreateReleaseInput, environment: string) => Promise<string> = async () => "rel_none";
  rollbackOutcome: RollbackOutcome | undefined;

  namespace(): ControlEnv["COORDINATOR"] {
    const getByName = (environment: string) => this.#port(environment);
    // Control calls nothing else of the namespace.
    return { getByName } as unknown as ControlEnv["COORDINATOR"];
  }

  of(what: string) {
    return this.asked.filter((entry) => entry.what === what);
  }

  #port(environment: string): CoordinatorPort {
    const note = (what: string, input: unknown) => void this.asked.push({ environment, what, input });
    const answer = <T>(value: T): Result<T, Refusal> => (this.refusal ? err(this.refusal) : ok(value));
    const noted =
      <T>(what: string, value: T) =>
      async (input: unknown) => {
        note(what, input);
        return answer(value);
      };
    return {
      createRelease: async (input) => {
        note("createRelease", input);
        if (this.refusal) return err(this.refusal);
        return ok({ release: await this.release(input, environment), created: this.isNew });
      },
      createRun: noted("createRun", { run: "run_1" }),
      stopRun: noted("stopRun", null),
      restart: noted("restart", { release: "rel_1" }),
      scale: noted("scale", { release: null }),
      abort: noted("abort", null),
      rollback: async (input) => {
        note("rollback", input);
        if (this.rollbackOutcome) return answer(this.rollbackOutcome);
        return err(this.refusal ?? { code: "nothing_to_roll_back", detail: "no release has traffic" });
      },
      setWeights: noted("setWeights", null),
      approve: noted("approve", null),
      reject: noted("reject", null),
      promote: noted("promote", null),
      pause: noted("pause", null),
      resume: noted("resume", null),
      lock: noted("lock", null),
      unlock: noted("unlock", null),
      setMode: noted("setMode", null),
      destroy: async (input) => {
        note("destroy", input);
        return ok(null);
      },
      poke: async () => note("poke", null),
      judgeNow: async () => note("judgeNow", null),
      table: async (hostname, known) => {
        note("table", { hostname, known });
        return { kind: "unknown" };
      },
      place: async () => ({ colo: null, databaseMs: null }),
      inspect: async () => this.view,
    };
  }
}
