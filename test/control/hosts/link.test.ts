import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
let host: Awaited<ReturnType<typeof world.enrolled>>;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  host = await world.enrolled(api);
});

const UPGRADE = { upgrade: "websocket", connection: "Upgrade" };

async function connect(token = host.token): Promise<WebSocket> {
  const response = await api.get("/agent/v1/wake", { token, headers: UPGRADE });
  const socket = response.webSocket;
  if (response.status !== 101 || !socket) throw new Error(`no socket: ${response.status}`);
  socket.accept();
  return socket;
}

const next = (socket: WebSocket) =>
  new Promise<string>((resolve) => {
    socket.addEventListener("message", ({ data }) => resolve(String(data)), { once: true });
    socket.addEventListener("close", ({ code }) => resolve(`closed ${code}`), { once: true });
  });
const link = () => env.HOST_LINK.getByName(host.host.id);

describe("the wake-up socket", () => {
  it("says poll when the host has work, and says so to nobody's absence", async () => {
    expect(await link().wake()).toBe(false);
    const said = next(await connect());
    expect(await link().wake()).toBe(true);
    expect(await said).toBe("poll");
  });

  it("answers ping with pong, and still wakes after it hibernated", async () => {
    const socket = await connect();
    socket.send("ping");
    expect(await next(socket)).toBe("pong");
    await evictDurableObject(link());
    const said = next(socket);
    await link().wake();
    expect(await said).toBe("poll");
  });

  it("belongs to the newest connection of the host", async () => {
    const old = await connect();
    const ended = next(old);
    const said = next(await connect());
    expect(await ended).toBe("closed 4000");
    await link().wake();
    expect(await said).toBe("poll");
  });

  it("wakes the newest connection though the one before never answered its close", async () => {
    // Nobody reads what they are sent: the network is gone.
    for (let lost = 0; lost < 2; lost++)
      await api.get("/agent/v1/wake", { token: host.token, headers: UPGRADE });
    const said = next(await connect());
    expect(await link().wake()).toBe(true);
    expect(await said).toBe("poll");
  });

  it("closes when the host is removed", async () => {
    const ended = next(await connect());
    await api.delete("/api/v1/hosts/web-1");
    expect(await ended).toBe("closed 4001");
  });

  it("closes when the host's token is revoked", async () => {
    const ended = next(await connect());
    const { items } = await (await api.get("/api/v1/tokens")).json<{
      items: { id: string; role: string }[];
    }>();
    await api.delete(`/api/v1/tokens/${items.find(({ role }) => role === "agent")?.id}`);
    expect(await ended).toBe("closed 4001");
  });

  it("opens for an agent only, and only as a WebSocket", async () => {
    const open = (token: string | null) => api.get("/agent/v1/wake", { token, headers: UPGRADE });
    expect(await problemOf(await open(null))).toBe("401 unauthenticated");
    expect(await problemOf(await open(await api.token("admin")))).toBe("403 forbidden");
    expect(await problemOf(await api.get("/agent/v1/wake", { token: host.token }))).toBe(
      "400 invalid_request",
    );
  });
});
