import { afterEach, beforeAll, describe, expect } from "vitest";
import type { LogItem, Reading, Runtime } from "../../../agent/runtime/runtime.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { freePort } from "../../support/engine/docker.ts";
import { type apps, nodeCommand } from "../apps.ts";
import type { ContractSetup } from "../runtime/runtime.contract.ts";
import { specOf } from "../specs.ts";

type It = (name: string, run: () => Promise<void>) => void;
type Line = Extract<LogItem, { cursor: string }>;

const never = new AbortController().signal;

/** What both runtimes promise of an instance's log. */
export function logsContract(name: string, it: It, setup: ContractSetup): void {
  describe(`${name} runtime's logs`, () => {
    let runtime: Runtime;
    let image: string;
    const started: string[] = [];

    beforeAll(async () => {
      if (setup.unavailable) return;
      runtime = await setup.open();
      image = await setup.image();
    });

    afterEach(async () => {
      for (const instance of started.splice(0)) await runtime.stop(instance, 0);
    });

    async function begin(app: keyof typeof apps): Promise<InstanceSpec> {
      const instance = `ins-${Math.random().toString(36).slice(2, 10)}`;
      started.push(instance);
      const spec = specOf({ instance, image, hostPort: await freePort(), command: nodeCommand(app) });
      const outcome = await runtime.start(spec);
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.error));
      return spec;
    }

    /** One that has written all it ever will. */
    async function ended(app: keyof typeof apps): Promise<InstanceSpec> {
      const spec = await begin(app);
      await runtime.waitExit(spec.instance, AbortSignal.timeout(60_000));
      return spec;
    }

    const read = (spec: InstanceSpec, reading: Partial<Reading> = {}) =>
      collect(runtime.follow({ instance: spec.instance }, { follow: false, ...reading }, never));

    it("reads a log from its first line to its last, or only the last ones", async () => {
      const spec = await ended("exits");
      const lines = await read(spec);
      expect(lines.map(({ text }) => text)).toEqual([...numbered(60), "no database"]);
      expect(await read(spec, { tail: 3 })).toEqual(lines.slice(-3));
      expect(await read(spec, { tail: 1_000 })).toEqual(lines);
      expect(await read(spec, { tail: 0 })).toEqual([]);
    });

    it("reads on after any line, and repeats none", async () => {
      const spec = await ended("exits");
      const lines = await read(spec);
      for (const n of [0, 29, 59])
        expect(await read(spec, { after: lines[n]?.cursor ?? "" })).toEqual(lines.slice(n + 1));
      expect(await read(spec, { after: lines.at(-1)?.cursor ?? "" })).toEqual([]);
    });

    it("leaves out what was written before a time", async () => {
      const before = Date.now();
      const spec = await ended("exits");
      expect(await read(spec, { since: before - 1_000 })).toHaveLength(61);
      expect(await read(spec, { since: Date.now() + 60_000 })).toEqual([]);
      for (const { at } of await read(spec)) expect(Math.abs(at - before)).toBeLessThan(15_000);
    });

    it("goes on with what is written, and ends when the instance is gone", async () => {
      const spec = await begin("counts");
      const seen: string[] = [];
      for await (const line of linesOf(
        runtime.follow({ instance: spec.instance }, { follow: true }, never),
      )) {
        seen.push(line.text);
        if (seen.length === 100) void runtime.stop(spec.instance, 1_000);
      }
      expect(seen.length).toBeGreaterThanOrEqual(100);
      expect(seen).toEqual(numbered(seen.length));
    });

    it("goes on behind the last line when the instance is restarted", async () => {
      const spec = await begin("counts");
      const seen: string[] = [];
      let restarted: Promise<unknown> | undefined;
      for await (const line of linesOf(
        runtime.follow({ instance: spec.instance }, { follow: true }, never),
      )) {
        seen.push(line.text);
        if (seen.length === 20) restarted = runtime.restart(spec.instance, 1_000);
        if (restarted && seen.filter((text) => text === "line 20").length === 2) break;
      }
      await restarted;
      const again = seen.lastIndexOf("line 1");
      expect(seen).toEqual([...numbered(again), ...numbered(seen.length - again)]);
    });

    it("cuts an endless line and loses none behind it", async () => {
      const spec = await ended("verbose");
      const [before, long, after] = await read(spec);
      expect([before?.text, after?.text]).toEqual(["before", "after"]);
      expect(long?.text).toMatch(/^é{8000,}�?$/);
      expect(long?.text.length).toBeLessThanOrEqual(16_384);
      expect((await read(spec, { after: long?.cursor ?? "" })).map(({ text }) => text)).toEqual(["after"]);
    });

    it("ends when told to, and at once where there is no such instance", async () => {
      const spec = await begin("silent");
      const following = collect(
        runtime.follow({ instance: spec.instance }, { follow: true }, AbortSignal.timeout(300)),
      );
      expect(await following).toEqual([]);
      expect(await collect(runtime.follow({ instance: "ins-never" }, { follow: true }, never))).toEqual([]);
    });
  });
}

export const numbered = (count: number, from = 1) =>
  Array.from({ length: count }, (_, n) => `line ${n + from}`);

async function* linesOf(items: AsyncIterable<LogItem>): AsyncGenerator<Line> {
  for await (const item of items) {
    if ("droppedBytes" in item) throw new Error(`${item.droppedBytes} bytes are missing`);
    yield item;
  }
}

export async function collect(items: AsyncIterable<LogItem>): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of linesOf(items)) lines.push(line);
  return lines;
}
