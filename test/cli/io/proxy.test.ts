import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { proxiesOf } from "../../../cli/io/proxy.ts";
import { callCli, runCli } from "../../support/cli/run-cli.ts";

/** A company's network: control is reached through a proxy, or not at all. */
const asked: string[] = [];
const proxy = http.createServer();
const control = { folder: "", port: 0 };
let server: https.Server;

const portOf = (of: net.Server) => {
  const address = of.address();
  return address !== null && typeof address === "object" ? address.port : 0;
};

beforeAll(async () => {
  control.folder = mkdtempSync(join(tmpdir(), "sluice-proxy-"));
  const [key, cert] = [join(control.folder, "key.pem"), join(control.folder, "cert.pem")];
  const subject = ["-subj", "/CN=sluice.example.com", "-addext", "subjectAltName=DNS:sluice.example.com"];
  const made = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
  ];
  execFileSync("openssl", [...made, ...subject, "-keyout", key, "-out", cert], { stdio: "ignore" });
  server = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end('{"items":[],"nextCursor":null}');
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  control.port = portOf(server);
  // Of the name only the proxy knows where it leads.
  proxy.on("connect", (request, client, head) => {
    asked.push(`${request.url} ${request.headers["proxy-authorization"] ?? ""}`.trim());
    const upstream = net.connect(control.port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    for (const one of [client, upstream]) one.on("error", () => {});
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
});

afterAll(async () => {
  for (const one of [server, proxy]) {
    one.closeAllConnections();
    one.close();
  }
  rmSync(control.folder, { recursive: true });
});

describe("a proxy that the environment names", () => {
  test("is what control is asked through, with its login", async () => {
    const address = `http://ann:secret@127.0.0.1:${portOf(proxy)}`;
    const env = {
      SLUICE_TOKEN: "slu_test",
      HTTPS_PROXY: address,
      NODE_EXTRA_CA_CERTS: join(control.folder, "cert.pem"),
    };
    const ran = await runCli(["hosts", "--json"], { url: "https://sluice.example.com", env });
    expect(ran.code, ran.stderr).toBe(0);
    expect(asked).toEqual([`sluice.example.com:443 Basic ${Buffer.from("ann:secret").toString("base64")}`]);
    expect(ran.stderr).not.toContain("secret");
  });

  test("that is no address is said to be none", async () => {
    const env = { SLUICE_TOKEN: "slu_test", HTTPS_PROXY: "proxy:x:y" };
    const ran = await callCli(["hosts"], { url: "https://sluice.example.com", env });
    expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining("write http://host:port")]);
  });

  test("is not for this machine, and not for what NO_PROXY names", () => {
    expect(proxiesOf({})).toBeUndefined();
    expect(proxiesOf({ HTTPS_PROXY: "http://p:1", NODE_USE_ENV_PROXY: "1" })).toBeUndefined();
    expect(proxiesOf({ https_proxy: "http://p:1", HTTPS_PROXY: "http://q:1", NO_PROXY: "a.com" })).toEqual({
      https: "http://p:1",
      except: "a.com,localhost,.localhost,127.0.0.1,[::1]",
    });
  });
});
