import { afterEach, beforeAll, describe, expect } from "vitest";
import type { Exit, RunSpec, Runtime } from "../../../agent/runtime/runtime.ts";
import { type apps, nodeCommand } from "../apps.ts";
import { runOf } from "../specs.ts";
import type { ContractSetup } from "./runtime.contract.ts";

type It = (name: string, run: () => Promise<void>) => void;

/** What both runtimes promise of hooks. */
export function runsContract(name: string, it: It, setup: ContractSetup): void {
  describe(`${name} runtime's runs`, () => {
    let runtime: Runtime;
    let image: string;
    const begun: string[] = [];

    beforeAll(async () => {
      if (setup.unavailable) return;
      runtime = await setup.open();
      image = await setup.image();
    });
    afterEach(async () => {
      for (const run of begun.splice(0)) {
        await runtime.runs.stop(run, 0);
        await runtime.runs.remove(run);
      }
    });

    async function begin(app: keyof typeof apps, over: Partial<RunSpec> = {}): Promise<RunSpec> {
      const run = `run-${Math.random().toString(36).slice(2, 10)}`;
      begun.push(run);
      const spec = runOf({ run, image, command: nodeCommand(app), ...over });
      const started = await runtime.runs.start(spec);
      if (!started.ok) throw new Error(JSON.stringify(started.error));
      return spec;
    }
    const endOf = (run: string, by = runtime): Promise<Exit | undefined> =>
      by.runs.waitExit(run, AbortSignal.timeout(15_000));
    const hasSaid = (run: string, word: string) =>
      expect.poll(() => runtime.runs.logs(run, 50)).toContainEqual(expect.stringContaining(word));

    it("runs a command to its end, told who it is, without a port and without the agent's environment", async () => {
      process.env.AGENT_SECRET = "slu_secret";
      const { run } = await begin("tells", { env: { OWN: "mine" }, version: "v7", hook: "contract" });
      delete process.env.AGENT_SECRET;
      expect(await endOf(run)).toEqual({ exitCode: 0 });
      const [line = ""] = await runtime.runs.logs(run, 1);
      const told = {
        version: "v7",
        release: "rel-1",
        hook: "contract",
        own: "mine",
        port: null,
        secret: null,
      };
      expect(JSON.parse(line)).toEqual(told);
    });

    it("tells the exit code of one that fails and keeps its last 50 lines", async () => {
      const { run } = await begin("exits");
      expect(await endOf(run)).toEqual({ exitCode: 3 });
      const lines = await runtime.runs.logs(run, 50);
      expect(lines).toHaveLength(50);
      expect(lines).toContain("no database");
    });

    it("names a command that is not found", async () => {
      const { run } = await begin("good", { command: ["no-such-program", "--now"] });
      expect(await endOf(run)).toEqual({ exitCode: 127 });
      expect((await runtime.runs.logs(run, 50)).join()).toContain("no-such-program");
    });

    it("refuses a run whose name it has, while it runs and after it ended", async () => {
      const spec = await begin("migrates");
      expect(await runtime.runs.start(spec)).toMatchObject({ ok: false, error: { code: "start_failed" } });
      expect(await endOf(spec.run)).toEqual({ exitCode: 0 });
      expect(await (await setup.open()).runs.start(spec)).toMatchObject({ ok: false });
      const lines = await runtime.runs.logs(spec.run, 50);
      expect(lines.filter((line) => line.startsWith("began"))).toHaveLength(1);
    });

    it("tells a later agent how a run ended that an earlier one began, running or ended by then", async () => {
      const { run } = await begin("migrates");
      expect(await endOf(run, await setup.open())).toEqual({ exitCode: 0 });
      const later = await setup.open();
      expect(await later.runs.find(run)).toEqual({ ok: true, value: "begun" });
      expect(await endOf(run, later)).toEqual({ exitCode: 0 });
      expect((await later.runs.logs(run, 50)).at(-1)).toBe("ended");
    });

    it("never lists a run among the instances", async () => {
      const { run } = await begin("migrates");
      const listed = await runtime.list();
      expect(JSON.stringify(listed)).not.toContain(run);
      expect(listed.ok).toBe(true);
    });

    it("ends a run that hangs, by force when it does not listen, and keeps its log", async () => {
      const { run } = await begin("deaf");
      await hasSaid(run, "began");
      expect(await runtime.runs.stop(run, 1_000)).toMatchObject({ ok: true, value: { killed: true } });
      const { run: listening } = await begin("docile");
      await hasSaid(listening, "began");
      expect(await runtime.runs.stop(listening, 10_000)).toMatchObject({
        ok: true,
        value: { killed: false },
      });
      expect(await runtime.runs.logs(run, 50)).toContain("began");
    });

    it("says that a run is gone when nothing of it is left", async () => {
      const { run } = await begin("tells");
      await endOf(run);
      expect(await runtime.runs.remove(run)).toMatchObject({ ok: true });
      expect(await runtime.runs.remove(run)).toMatchObject({ ok: true });
      expect(await runtime.runs.find(run)).toEqual({ ok: true, value: "none" });
      expect(await endOf(run)).toEqual({ gone: true });
    });

    it("begins nothing in an image that doesn't exist", async () => {
      const spec = runOf({ run: "run-no-image", image: setup.missingImage, command: ["true"] });
      expect(await runtime.runs.start(spec)).toMatchObject({ ok: false, error: { code: "image_not_found" } });
      expect(await runtime.runs.find(spec.run)).toEqual({ ok: true, value: "none" });
    });
  });
}
