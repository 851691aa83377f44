import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { causeOf } from "../../../agent/cloudflared/causes.ts";
import { chooseConnectors } from "../../../agent/cloudflared/choose.ts";
import type { Connectors } from "../../../agent/cloudflared/connectors.ts";
import { ContainerConnectors } from "../../../agent/cloudflared/container.ts";
import { ownProcess, ownUnit } from "../../../agent/cloudflared/launcher.ts";
import { ProcessConnectors } from "../../../agent/cloudflared/process.ts";
import { Supervisor } from "../../../agent/cloudflared/supervisor.ts";
import { removeImages } from "../../../local/images.ts";
import { dockerTest, engine, theEngine } from "../../support/engine/docker.ts";
import { imageWith } from "../images.ts";
import { ask, noted, STAND_IN, standInProgram, tokenOf } from "./cloudflared-stand-in.ts";

const quiet = { info: () => {}, warn: () => {}, error: () => {} };
const clock = {
  time: 1_000_000,
  /** What somebody set the host's clock by. */
  stepped: 0,
  now: () => clock.time + clock.stepped,
  monotonic: () => clock.time,
  sleep: () => new Promise<void>(() => {}),
};
let directory: string;
let program: string;
let state: string;
const kinds: Connectors[] = [];

beforeEach(async () => {
  clock.stepped = 0;
  directory = await mkdtemp(path.join(tmpdir(), "sluice-cloudflared-"));
  program = await standInProgram(directory);
  state = path.join(directory, "state");
});
afterEach(async () => {
  for (const { pid, event } of await noted(directory)) if (event === "started") end(pid);
  await rm(directory, { recursive: true, force: true });
});

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

const wanted = (name: string, over = {}) => ({
  host: "host-1",
  rev: 1,
  tunnelId: "t-1",
  token: tokenOf({ name, directory, ...over }),
  configVersion: 1,
});
const started = async () => (await noted(directory)).filter(({ event }) => event === "started");

/** A supervisor on real processes, whose looks and clock are the test's. */
function supervised() {
  const connectors = new ProcessConnectors({ launcher: ownProcess(program), directory: state });
  const supervisor = new Supervisor({ connectors, clock, log: quiet });
  const look = async (as = wanted("a")) => {
    await supervisor.tick(as);
    return supervisor.facts;
  };
  return { connectors, supervisor, look };
}

async function running(look: () => Promise<{ state: string }>) {
  await expect.poll(() => look()).toMatchObject({ state: "connected" });
  const [one] = await started();
  if (!one) throw new Error("none started");
  return one;
}

describe("the state of a tunnel", () => {
  test("falls after three looks without a connection in a row, not for one, and rises with the first", async () => {
    const { look } = supervised();
    const one = await running(look);
    const states: string[] = [];
    for (const ready of [0, 1, 0, 0, 1, 0, 0, 0, 0, 1]) {
      await ask(one, `/ready?ready=${ready}`);
      states.push(`${ready} ${(await look()).state}`);
    }
    expect(states).toEqual([
      "0 connected",
      "1 connected",
      "0 connected",
      "0 connected",
      "1 connected",
      "0 connected",
      "0 connected",
      "0 down",
      "0 down",
      "1 connected",
    ]);
    expect(await started()).toHaveLength(1);
  });

  test("is starting at first, and down when that takes too long", async () => {
    const { look } = supervised();
    const slow = wanted("a", { slow: true });
    expect((await look(slow)).state).toBe("starting");
    await expect.poll(async () => (await started()).length).toBe(1);
    clock.time += 30_000;
    await expect.poll(async () => (await look(slow)).state).toBe("down");
    expect(await started()).toHaveLength(1);
  });

  test("says that other rules run than control wrote, until they do", async () => {
    const { look } = supervised();
    const one = await running(look);
    expect(await look({ ...wanted("a"), configVersion: 2 })).toMatchObject({
      state: "connected",
      configVersion: 1,
      cause: expect.stringContaining("version 1, control wrote 2"),
    });
    await ask(one, "/ready?version=2");
    const after = await look({ ...wanted("a"), configVersion: 2 });
    expect(after).toMatchObject({ configVersion: 2 });
    expect(after.cause).toBeUndefined();
  });
});

describe("a cloudflared that ends", () => {
  test("is started again with growing pauses, not in a loop", async () => {
    const { look } = supervised();
    const refused = wanted("a", { refused: true });
    const tries = async () => {
      for (let n = 0; n < 5; n++) await look(refused);
      return (await noted(directory)).length;
    };
    await expect.poll(tries).toBe(1);
    clock.time += 1_300;
    await expect.poll(tries).toBe(2);
    clock.time += 1_300;
    expect(await tries()).toBe(2);
    clock.time += 1_300;
    await expect.poll(tries).toBe(3);
  });

  test.each([86_400_000, -86_400_000])(
    "is started again at its time though the host's clock is set by %d ms meanwhile",
    async (ms) => {
      const { look } = supervised();
      const refused = wanted("a", { refused: true });
      const tries = async () => {
        await look(refused);
        return (await noted(directory)).length;
      };
      await expect.poll(tries).toBe(1);
      clock.stepped = ms;
      expect(await tries()).toBe(1);
      clock.time += 1_300;
      await expect.poll(tries).toBe(2);
    },
  );
});

describe("a cloudflared that hangs", () => {
  test("gets a second one beside it, and ends only when that one is connected", async () => {
    const { look, connectors } = supervised();
    const one = await running(look);
    process.kill(one.pid, "SIGSTOP");
    await look();
    clock.time += 119_000;
    await look();
    expect(await started()).toHaveLength(1);
    clock.time += 1_000;
    await look();
    await expect.poll(async () => (await started()).length).toBe(2);
    await expect.poll(() => look()).toMatchObject({ state: "connected" });
    const listed = await connectors.list();
    expect(listed.ok && listed.value.filter(({ retiring }) => retiring)).toHaveLength(1);
    process.kill(one.pid, "SIGCONT");
  });
});

describe("as containers", () => {
  const host = `host-${randomUUID().slice(0, 8)}`;
  const script = JSON.stringify(["node", "-e", STAND_IN, "--"]);
  const standIn = () => imageWith(`cloudflared-${process.pid}`, { lines: [`ENTRYPOINT ${script}`] });
  afterEach(async () => {
    for (const kind of kinds.splice(0)) {
      const listed = await kind.list();
      for (const one of listed.ok ? listed.value : []) await kind.discard(one);
    }
  });
  afterAll(() => engine && removeImages(engine, [`sluice-test:cloudflared-${process.pid}`]));
  function containers(image: string): Connectors {
    const made = new ContainerConnectors({ engine: theEngine(), host, image });
    kinds.push(made);
    return made;
  }
  const inContainer = (name: string, over = {}) => ({
    ...wanted(name),
    token: tokenOf({ name, ...over }),
  });

  dockerTest(
    "it runs on the host's network, without rights, its token in no argument, and outlives the agent",
    async () => {
      const image = await standIn();
      const connectors = containers(image);
      const supervisor = new Supervisor({ connectors, clock, log: quiet });
      const look = async () => {
        await supervisor.tick(inContainer("a"));
        return supervisor.facts;
      };
      await expect.poll(look).toMatchObject({ state: "connected", version: "2026.8.2", readyConnections: 4 });
      const listed = await connectors.list();
      const [only] = listed.ok ? listed.value : [];
      const bytes = await theEngine().bytes("GET", `/containers/${only?.id}/json`);
      const inspected = JSON.parse(bytes.toString("utf8"));
      expect(JSON.stringify(inspected.Args)).not.toContain(inContainer("a").token);
      expect(inspected.HostConfig).toMatchObject({
        NetworkMode: "host",
        CapDrop: ["ALL"],
        ReadonlyRootfs: true,
        RestartPolicy: { Name: "unless-stopped" },
      });
      expect(inspected.Config.StopTimeout).toBeGreaterThan(150);
      // The next agent on this host.
      const next = new Supervisor({ connectors: containers(image), clock, log: quiet });
      await next.tick(inContainer("a"));
      const after = await connectors.list();
      expect(after.ok && after.value.map(({ id }) => id)).toEqual([only?.id]);
    },
  );

  dockerTest(
    "another token is another container beside it, and the one before goes once that one is connected",
    async () => {
      const connectors = containers(await standIn());
      const supervisor = new Supervisor({ connectors, clock, log: quiet });
      await expect
        .poll(async () => {
          await supervisor.tick(inContainer("a"));
          return supervisor.facts.state;
        })
        .toBe("connected");
      const states: string[] = [];
      await expect
        .poll(async () => {
          await supervisor.tick(inContainer("b"));
          states.push(supervisor.facts.state);
          const listed = await connectors.list();
          return listed.ok && listed.value.map(({ tokenHash, retiring }) => `${tokenHash} ${retiring}`);
        })
        .toEqual([expect.stringMatching(/ false$/)]);
      expect(new Set(states)).toEqual(new Set(["connected"]));
    },
  );
});

describe("the form it runs in", () => {
  const kindOf = async (over: Partial<Parameters<typeof chooseConnectors>[0]>) => {
    const choice = await chooseConnectors({ directory: state, host: "h", unit: false, ...over });
    return "problem" in choice ? choice.problem : choice.connectors.kind;
  };
  const programThatSays = async (version: string) => {
    const file = path.join(directory, "old");
    await writeFile(file, `#!/bin/sh\necho 'cloudflared version ${version} (built 2024-01-01-0000 UTC)'\n`);
    await chmod(file, 0o755);
    return file;
  };

  test("is a process where there is the program", async () => {
    expect(await kindOf({ program })).toBe("process");
  });

  test.each(["2024.12.2", "2025.3.9", "2022.10.0"])(
    "is no program of version %s, and says why",
    async (old) => {
      const file = await programThatSays(old);
      const said = `${file} is cloudflared ${old}, and 2025.4.0 or newer is needed`;
      expect(await kindOf({ program: file })).toContain(said);
      if (engine) expect(await kindOf({ program: file, engine })).toBe("container");
    },
  );

  test.each(["2025.4.0", "2025.10.1", "2026.1.0", "DEV"])("is a program of version %s", async (version) => {
    expect(await kindOf({ program: await programThatSays(version) })).toBe("process");
  });

  dockerTest("is a container where there is only an engine", async () => {
    expect(await kindOf({ program: path.join(directory, "none"), engine: theEngine() })).toBe("container");
  });

  dockerTest("stays what runs already, since that carries traffic", async () => {
    const { look } = supervised();
    await running(look);
    expect(await kindOf({ program: path.join(directory, "none"), engine: theEngine() })).toBe("process");
  });
});

/** Does of systemctl what the agent asks for, on the stand-in: as another user, with the token as systemd hands it over. */
const SYSTEMCTL = (at: { state: string; program: string; asked: string }) => `#!/bin/sh
echo "$*" >>'${at.asked}'
for last; do :; done
id=\${last#sluice-cloudflared@}; id=\${id%.service}
case "$1" in
  start)
    . '${at.state}/cloudflared/'"$id.env"
    cp '${at.state}/cloudflared/'"$id.token" "${at.asked}.$id" && chmod 644 "${at.asked}.$id"
    TUNNEL_TOKEN_FILE="${at.asked}.$id" setsid setpriv --reuid 65534 --clear-groups '${at.program}' tunnel \\
      --metrics "127.0.0.1:$METRICS_PORT" run >>'${at.state}/cloudflared/'"$id.log" 2>&1 </dev/null &
    echo $! >"${at.asked}.$id.pid" ;;
  show) cat "${at.asked}.$id.pid" ;;
  stop) kill "$(cat "${at.asked}.$id.pid")" ;;
esac
`;

describe.runIf(process.getuid?.() === 0)("as a unit", () => {
  async function asUnit() {
    const asked = path.join(directory, "asked");
    const systemctl = path.join(directory, "systemctl");
    await writeFile(systemctl, SYSTEMCTL({ state, program, asked }), { mode: 0o755 });
    await chmod(directory, 0o777);
    const connectors = new ProcessConnectors({ launcher: ownUnit(systemctl), directory: state });
    const supervisor = new Supervisor({ connectors, clock, log: quiet });
    const look = async () => {
      await supervisor.tick(wanted("a"));
      return supervisor.facts;
    };
    return { look, connectors, said: async () => (await readFile(asked, "utf8")).trim().split("\n") };
  }
  const userOf = async (pid: number) => (await stat(`/proc/${pid}`)).uid;

  test("it runs as a user of its own, found, looked after and ended through systemd", async () => {
    const { look, connectors, said } = await asUnit();
    const one = await running(look);
    expect(await userOf(one.pid)).toBe(65_534);
    expect(one.args.join(" ")).not.toContain(tokenOf({ name: "a", directory }));
    const listed = await connectors.list();
    if (!listed.ok || !listed.value[0]) throw new Error("none listed");
    expect(await said()).toContain(`start sluice-cloudflared@${listed.value[0].id}.service`);
    await connectors.retire(listed.value[0]);
    await expect.poll(async () => (await noted(directory)).map(({ event }) => event)).toContain("ended");
    expect(await said()).toContain(`stop --no-block sluice-cloudflared@${listed.value[0].id}.service`);
  });

  test("it takes the place of one that runs as the agent, once it is connected", async () => {
    const before = await running(supervised().look);
    expect(await userOf(before.pid)).toBe(0);
    const { look } = await asUnit();
    await chmod(path.join(directory, "events"), 0o666);
    await expect
      .poll(async () => {
        await look();
        return (await noted(directory)).map(
          ({ event, pid }) => `${event} ${pid === before.pid ? "old" : "new"}`,
        );
      })
      .toEqual(["started old", "started new", "told to end old", "ended old"]);
  });
});

describe("what cloudflared says", () => {
  test.each([
    [
      'ERR Register tunnel error from server side error="Unauthorized: Invalid tunnel secret"',
      "refuses this tunnel's token",
    ],
    ["Provided Tunnel token is not valid.", "refuses this tunnel's token"],
    [
      'ERR Failed to dial a quic connection error="failed to dial to edge with quic: timeout: no recent network activity"',
      "UDP 7844",
    ],
    [
      'ERR Unable to establish connection with Cloudflare edge error="DialContext error: dial tcp 198.41.192.7:7844: i/o timeout"',
      "TCP 7844 to Cloudflare is blocked",
    ],
    [
      'ERR Failed to fetch features error="lookup cfd-features.argotunnel.com on 127.0.0.53:53: server misbehaving"',
      "DNS does not resolve",
    ],
    ["2026-11-25T01:00:00Z ERR something new went wrong", "cloudflared says: something new went wrong"],
  ])("%s becomes words", (line, words) => {
    expect(causeOf(["INF Starting tunnel", line])).toContain(words);
  });

  test("is no cause when nothing is wrong", () => {
    expect(causeOf(["2026-11-25T01:00:00Z INF Registered tunnel connection protocol=quic"])).toBeUndefined();
  });
});
