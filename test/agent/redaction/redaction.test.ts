import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Secrets } from "../../../agent/redaction/secrets.ts";
import { freePort } from "../../support/engine/docker.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { healthOf, runOf, specOf } from "../specs.ts";

const SECRET = 's3cr3t é/+=&?"-value';
const scope = "hello/production";
const hiding = (...values: string[]) => {
  const secrets = new Secrets();
  secrets.learn(scope, values);
  return (text: string) => secrets.hide(scope, text);
};

describe("a value that was injected", () => {
  const bytes = Buffer.from(SECRET);
  test.each([
    ["as it is", SECRET],
    ["as base64", bytes.toString("base64")],
    ["as base64 for addresses", bytes.toString("base64url")],
    ["as hexadecimal", bytes.toString("hex")],
    ["as hexadecimal in capitals", bytes.toString("hex").toUpperCase()],
    ["percent-encoded", encodeURIComponent(SECRET)],
    ["percent-encoded in small letters", encodeURIComponent(SECRET).replace(/%../g, (c) => c.toLowerCase())],
    ["as a form's field", encodeURIComponent(SECRET).replaceAll("%20", "+")],
    ["in JSON", JSON.stringify({ a: SECRET }).slice(6, -2)],
  ])("is hidden %s", (_how, text) => {
    expect(hiding(SECRET)(`before ${text} after ${text}`)).toBe("before *** after ***");
  });

  test("is hidden in base64 of something longer, wherever it begins", () => {
    for (const before of ["", "u", "us", "usr", "user:"]) {
      const text = Buffer.from(`${before}${SECRET}:after`).toString("base64");
      const left = Buffer.from(hiding(SECRET)(`Basic ${text}`).slice(6), "base64").toString();
      expect(left).not.toContain("s3cr3t");
      expect(left).not.toContain("value");
    }
  });

  test("is hidden line by line, and as the password of an address", () => {
    const key = `-----BEGIN PRIVATE KEY-----\n${"MIIEvQIBADANBgkq"}\n${"hkiG9w0BAQEFAASC"}\n-----END PRIVATE KEY-----\n`;
    expect(hiding(key)("read MIIEvQIBADANBgkq")).toBe("read ***");
    expect(hiding(key)("-----BEGIN PRIVATE KEY-----")).toBe("-----BEGIN PRIVATE KEY-----");
    const url = "postgres://shop:hunter%2F22@db/shop";
    expect(hiding(url)("no login with hunter%2F22, that is hunter/22")).toBe(
      "no login with ***, that is ***",
    );
  });

  test("is hidden where it was cut in two, at any place that tells it", () => {
    const value = "0123456789abcdefghij";
    const line = "x".repeat(980);
    for (let length = 6; length < value.length; length++)
      expect(hiding(value)(line + value.slice(0, length))).toBe(`${line}***`);
    expect(hiding(value)(`answered 503: ${value.slice(0, 9)}… for 60 s`)).toBe("answered 503: ***… for 60 s");
    expect(hiding(value)(`${value.slice(3)} and more`)).toBe("*** and more");
  });

  test("of less than 6 characters is none, and a text never gets longer", () => {
    expect(hiding("short", "")("short")).toBe("short");
    expect(hiding("abcdef")("abcdef")).toBe("***");
  });

  test("is hidden from what is told of its own environment only", () => {
    const secrets = new Secrets();
    secrets.learn("shop/production", ["Exception"]);
    expect(secrets.hide("other/production", "Exception: no")).toBe("Exception: no");
    expect(secrets.hideAll("Exception: no")).toBe("***: no");
  });

  test("is hidden whatever it is, and whatever stands around it", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 300 });
    const value = fc
      .string({ unit: "grapheme", minLength: 8, maxLength: 80 })
      .filter((s) => s.trim().length >= 8);
    void fc.assert(
      fc.property(value, text, text, (value, before, after) => {
        const hide = hiding(value);
        const encodings = [
          value,
          encodeURIComponent(value.toWellFormed()),
          Buffer.from(value).toString("hex"),
        ];
        for (const form of encodings) {
          const told = hide(`${before} ${form} ${after}`);
          expect(told.replaceAll(`${before} `, "").replaceAll(` ${after}`, "")).not.toContain(form);
        }
      }),
    );
  });
});

/** Says its secret in every way there is, then does as it is told. */
const says = (then: string) => [
  "node",
  "-e",
  `const s = process.env.DB_PASSWORD; const b = Buffer.from("user:" + s);
   console.log("plain " + s); console.error("basic " + b.toString("base64"));
   console.log("url " + encodeURIComponent(s)); console.log("x".repeat(990) + s); console.log(JSON.stringify({ s }));
   ${then}`,
];
const BODY = `require("node:http").createServer((q, r) => {
  r.statusCode = q.url === "/ready" ? 503 : 200; r.end("x".repeat(185) + s); }).listen(process.env.PORT);`;

describe("an agent", () => {
  let bench: AgentBench;
  const password = `pw-${randomBytes(12).toString("base64url")}-é`;
  beforeEach(async () => {
    bench = await agentBench();
  });
  afterEach(() => bench.close());

  const told = async () => {
    const { done, progress, reports, lines, polls } = bench.control;
    const journal = await readFile(path.join(bench.directory, "journal.json"), "utf8");
    return JSON.stringify({ done, progress, reports, lines, polls, journal, log: bench.lines });
  };
  async function keepsIt(): Promise<void> {
    const all = await told();
    const bytes = Buffer.from(password);
    for (const form of [password, bytes.toString("base64").slice(0, 12), encodeURIComponent(password)])
      expect(all).not.toContain(form);
    for (let n = 0; n < password.length - 7; n++) expect(all).not.toContain(password.slice(n, n + 8));
    expect(all).toContain("***");
  }
  async function run(job: Parameters<AgentBench["control"]["give"]>[0]) {
    bench.control.secretNames = { [String(job.id)]: ["DB_PASSWORD"] };
    bench.control.give(job);
    return bench.control.result(String(job.id));
  }
  const spec = async (command: string[], over: object = {}) =>
    specOf({
      instance: "ins-1",
      image: "file:app",
      hostPort: await freePort(),
      env: { DB_PASSWORD: password, PLAIN: "plain-text" },
      command,
      ...over,
    });

  test("tells the last lines of an app that dies without its secrets", async () => {
    const died = await run({ id: "j-1", kind: "start", spec: await spec(says("process.exit(3)")) });
    expect(died).toMatchObject({ ok: false, error: { code: "exited" } });
    expect(JSON.stringify(died)).toContain("plain ***");
    await keepsIt();
  });

  test("tells the body of a probe's answer without them, also where the excerpt cuts one in two", async () => {
    const health = healthOf({ deadlineMs: 600 });
    const failing = await run({ id: "j-2", kind: "start", spec: await spec(says(BODY), { health }) });
    expect(failing).toMatchObject({ ok: false, error: { code: "health_status" } });
    await keepsIt();
  });

  test("tells a hook's output without them, however the hook ends", async () => {
    for (const [id, then] of [
      ["run-1", "process.exit(5)"],
      ["run-2", ""],
    ] as const) {
      const env = { DB_PASSWORD: password };
      const ran = await run({
        id,
        kind: "run",
        ...runOf({ run: id, image: "file:app", command: says(then), env }),
      });
      expect(ran.ok).toBe(id === "run-2");
    }
    await keepsIt();
  });

  test("sends log lines without them, also after it was restarted and only the app still has them", async () => {
    const command = says(
      `require("node:http").createServer((q, r) => { console.log("asked " + s); r.end("ok"); }).listen(process.env.PORT);`,
    );
    const running = await spec(command);
    expect(await run({ id: "j-3", kind: "start", spec: running })).toMatchObject({ ok: true });
    await bench.restart();
    const all = { app: "hello", environment: "production", from: 0, follow: false };
    bench.control.give({ id: "j-4", kind: "logs", stream: "s-1", ...all });
    await bench.control.result("j-4");
    expect(bench.control.lines.map(({ text }) => text)).toContain("plain ***");
    await keepsIt();
  });

  test("tells nothing of a registry's password", async () => {
    const login = { registry: "127.0.0.1:1", username: "u", password };
    bench.control.give({ id: "j-5", kind: "pull", image: `file:${password}`, login });
    expect(await bench.control.result("j-5")).toMatchObject({ ok: false });
    expect(await told()).not.toContain(password);
  });
});
