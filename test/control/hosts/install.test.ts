import { beforeEach, describe, expect, it } from "vitest";
import { sha256 } from "../../../src/control/ids.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});
const text = async (path: string) => {
  const response = await api.get(path, { token: null });
  expect(response.status).toBe(200);
  return response.text();
};

describe("what hosts and CI are installed from", () => {
  it("is a script that carries control's address and the hash of the bundle that control serves", async () => {
    const [script, bundle] = [await text("/install.sh"), await text("/agent/agent.mjs")];
    expect(script).toMatch(/^#!\/bin\/sh\n/);
    expect(script).toContain("CONTROL_URL='https://control.test'");
    expect(script).toContain(`AGENT_SHA256='${await sha256(bundle)}'`);
    expect(script).not.toMatch(/@[A-Z_0-9]+@/);
    expect(bundle).toMatch(/^#!\/usr\/bin\/env -S node/);
  });

  it("is the command line, too, by a script that carries its hash", async () => {
    const [script, cli] = [await text("/cli.sh"), await text("/cli.mjs")];
    expect(script).toContain("CONTROL_URL='https://control.test'");
    expect(script).toContain(`CLI_SHA256='${await sha256(cli)}'`);
    expect(script).not.toMatch(/@[A-Z_0-9]+@/);
  });

  it("is refused under a hostname that a shell would read as more than a name", async () => {
    const request = new Request("https://a';reboot;'.test/install.sh");
    expect(await problemOf(await api.send(request))).toBe("400 invalid_request");
  });
});
