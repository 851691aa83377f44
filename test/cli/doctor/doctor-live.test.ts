import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { certificateOf, judgeCertificate } from "../../../cli/doctor/live.ts";
import { fakeApi, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";

const route = (subject: string) => ({
  id: "hostname.route",
  subject,
  status: "ok",
  detail: "leads",
  fix: null,
});

/** A control plane that also plays the edge and a slot: all on one address. */
async function doctor(slot: Route, edge: Route) {
  await using slots = await fakeApi({ "GET /": slot });
  await using apps = await fakeApi({ "GET /": edge });
  await using api = await fakeApi({
    "GET /api/v1/doctor": (asked, answer) =>
      answer.json(200, {
        now: new Date().toISOString(),
        version: "dev",
        actor: "admin",
        role: "admin",
        checks: [route("localhost")],
        slots: asked.query.get("live") === "1" ? [{ host: "web-1", origin: slots.url }] : [],
      }),
  });
  const config = { url: api.url, token: "slu_0123456789abcdef", edge: apps.url };
  const files = { ".sluice/cli.json": JSON.stringify(config) };
  const { stdout, code } = await callCli(["doctor", "--live", "--json"], { files });
  const { checks } = JSON.parse(stdout) as {
    checks: { id: string; subject: string; status: string; detail: string; fix: string | null }[];
  };
  return { code, find: (id: string) => checks.find((check) => check.id === id) };
}

const closed: Route = (_asked, answer) =>
  answer.raw(404, "text/plain", "Not found", { "x-sluice-shield": "1" });
const app: Route = (_asked, answer) => answer.raw(200, "text/plain", "hello", { "x-sluice-release": "v7" });

describe.concurrent("doctor --live", () => {
  test("asks what strangers and visitors would: slots are closed, hostnames lead through the edge", async () => {
    const { code, find } = await doctor(closed, app);
    expect(code).toBe(0);
    expect(find("live.shield")).toMatchObject({ subject: "web-1", status: "ok" });
    expect(find("live.public")).toMatchObject({ status: "ok", detail: "answers 200 from v7" });
    expect(find("live.certificate")).toBeUndefined();
  });

  test("a slot that answers the internet is a failure", async () => {
    const { code, find } = await doctor(
      (_asked, answer) => answer.raw(502, "text/plain", "Bad gateway"),
      app,
    );
    expect(code).toBe(1);
    expect(find("live.shield")).toMatchObject({
      status: "fail",
      detail: expect.stringContaining("open to the internet"),
    });
  });

  test("a hostname that answers past the edge, or not at all, is named", async () => {
    const past = await doctor(closed, (_asked, answer) => answer.raw(200, "text/plain", "nginx"));
    expect(past.find("live.public")).toMatchObject({
      status: "warn",
      detail: expect.stringContaining("not through"),
    });
    const silent = await doctor(closed, (_asked, answer) => answer.drop());
    expect(silent.find("live.public")).toMatchObject({ status: "fail" });
  });
});

const challenged: Route = (_asked, answer) =>
  answer.raw(403, "text/html", "<html>", { "cf-mitigated": "challenge" });

test("a zone that challenges programs is named, with what to set", async () => {
  const { find } = await doctor(challenged, challenged);
  expect(find("live.shield")).toMatchObject({ status: "warn", detail: expect.stringContaining("challenge") });
  expect(find("live.public")).toMatchObject({
    status: "warn",
    detail: expect.stringContaining("Bot Fight Mode"),
    fix: expect.stringContaining("docs/cloudflare.md"),
  });
});

describe("a certificate", () => {
  const DAY_MS = 86_400_000;

  test("is fine, ends soon, or is not to be trusted", () => {
    const now = 1_790_000_000_000;
    expect(judgeCertificate("a.test", { validTo: now + 60 * DAY_MS }, now)).toMatchObject({ status: "ok" });
    expect(judgeCertificate("a.test", { validTo: now + 13 * DAY_MS }, now)).toMatchObject({ status: "warn" });
    expect(judgeCertificate("a.test", { error: "expired" }, now)).toMatchObject({ status: "fail" });
  });

  test("that nobody vouches for is refused with the reason", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sluice-tls-"));
    const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
    const request = [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-days",
      "30",
      "-subj",
      "/CN=shop.test",
    ];
    execFileSync("openssl", [...request, "-keyout", key, "-out", cert], { stdio: "ignore" });
    const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) =>
      response.end(),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo; // It listens on TCP, so this is one.
    const found = await certificateOf({ host: "shop.test", port, address: "127.0.0.1" });
    server.close();
    rmSync(directory, { recursive: true });
    expect(found).toEqual({ error: expect.stringContaining("self-signed") });
  });
});
