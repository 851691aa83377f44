import { describe, expectTypeOf, it } from "vitest";
import type { z } from "zod";
import type { JobKind, NewJob } from "../../src/domain/rollout/jobs.ts";
import type { jobSchema } from "../../src/protocol/agent/jobs.ts";

/** What control adds when an agent leases a job; `secrets` are names, of which the agent gets the values as `env`, as it gets the context of a `trace`. */
type Added = "kind" | "id" | "lease" | "environmentId" | "fence" | "deadlineAt" | "leaseExpiresAt" | "login";
type Frozen<T> = T extends readonly (infer One)[]
  ? readonly Frozen<One>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;
type Wire<K extends JobKind> = Frozen<Omit<Extract<z.input<typeof jobSchema>, { kind: K }>, Added>>;
type Ordered<K extends JobKind> = Omit<Extract<NewJob, { kind: K }>["payload"], "secrets" | "trace">;
/** Keys that a strict schema would refuse. */
type Unknown<Order, Schema> = Exclude<keyof Order, keyof Schema>;
type WireStart = Omit<Wire<"start">["spec"], "fence">;

describe("what the domain orders", () => {
  it("is what the wire takes: these are checked by the compiler", () => {
    expectTypeOf<Ordered<"pull">>().toExtend<Wire<"pull">>();
    expectTypeOf<Ordered<"stop">>().toExtend<Wire<"stop">>();
    expectTypeOf<Ordered<"run">>().toExtend<Wire<"run">>();
    expectTypeOf<Ordered<"command">>().toExtend<Wire<"command">>();
    expectTypeOf<Ordered<"start">["spec"]>().toExtend<WireStart>();
    expectTypeOf<JobKind>().toEqualTypeOf<"pull" | "start" | "stop" | "run" | "command">();
  });

  it("has no key that the wire's strict schemas refuse", () => {
    expectTypeOf<Unknown<Ordered<"pull">, Wire<"pull">>>().toBeNever();
    expectTypeOf<Unknown<Ordered<"stop">, Wire<"stop">>>().toBeNever();
    expectTypeOf<Unknown<Ordered<"run">, Wire<"run">>>().toBeNever();
    expectTypeOf<Unknown<Ordered<"command">, Wire<"command">>>().toBeNever();
    expectTypeOf<Unknown<Ordered<"start">["spec"], WireStart>>().toBeNever();
  });
});
