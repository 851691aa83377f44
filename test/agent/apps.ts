/**
 * Small programs, each misbehaving in one way. Given to `node -e`, so that both runtimes can run them as they are.
 */
const serve = (body: string) =>
  `require("node:http").createServer((request, response) => { ${body} }).listen(process.env.PORT);`;

export const apps = {
  /** Answers 200 to everything with what it was told about itself. Its signal handling is Node's default. */
  good: serve(
    "response.end(JSON.stringify({ version: process.env.SLUICE_VERSION, release: process.env.SLUICE_RELEASE, instance: process.env.SLUICE_INSTANCE, port: process.env.PORT, own: process.env.OWN, secret: process.env.AGENT_SECRET ?? null, pid: process.pid }))",
  ),
  /** All to stderr: an engine reads stdout and stderr apart, and keeps no order between them. */
  exits:
    'for (let n = 1; n <= 60; n++) console.error("line " + n); console.error("no database"); process.exitCode = 3;',
  /** Lets nobody in who does not ask for its public name; and to be ready, by https. */
  strict: serve(
    'const { host, "x-forwarded-proto": scheme } = request.headers; response.statusCode = host.split(":")[0] !== process.env.SLUICE_HOSTNAME || (request.url === "/ready" && scheme !== "https") ? 400 : 200; response.end(host);',
  ),
  silent: "setInterval(() => {}, 1000);",
  status: serve('response.statusCode = 503; response.end("no database");'),
  redirect: serve('response.writeHead(302, { location: "https://login.example.com/" }); response.end();'),
  hangs: serve(""),
  resets: serve("request.socket.resetAndDestroy();"),
  /** Ignores SIGTERM. */
  stubborn: `process.on("SIGTERM", () => console.log("no")); ${serve("response.end()")}`,
  /** Answers /die by exiting with code 7. */
  mortal: serve('if (request.url === "/die") process.exit(7); response.end(String(process.pid));'),
  /** /live and /ready answer 200 until asked for /sicken. */
  sickly: `let sick = false; ${serve('if (request.url === "/sicken") sick = true; response.statusCode = sick ? 500 : 200; response.end(String(process.pid));')}`,
  /** /ready can be switched off and on. */
  moody: `let ready = true; ${serve('if (request.url === "/off") ready = false; if (request.url === "/on") ready = true; response.statusCode = request.url === "/ready" && !ready ? 503 : 200; response.end("ready: " + ready);')}`,
  /** Numbers its lines, on and on. */
  counts: 'let n = 0; setInterval(() => console.log("line " + ++n), 10);',
  /** The same, and answers. */
  talks: `let n = 0; setInterval(() => console.log("line " + ++n), 10); ${serve("response.end()")}`,
  /** Lines of two requests, the id of the one beginning that of the other, and a stack trace behind each. */
  traces: `for (const id of ["req-0123456789ab-1", "req-0123456789ab-1z"]) console.log([
    "GET / 200", '{"id":"' + id + '","status":500}', "POST /pay " + id, "TypeError: no cart", "    at pay (shop.js:7)", "GET / 200", "    at nothing"
  ].join("\\n")); ${serve("response.end()")}`,
  /** A line of 40,000 characters between two short ones. */
  verbose: 'console.log("before"); console.log("é".repeat(40000)); console.log("after");',
  /** Hooks. */
  tells:
    "console.log(JSON.stringify({ version: process.env.SLUICE_VERSION, release: process.env.SLUICE_RELEASE, hook: process.env.SLUICE_HOOK, own: process.env.OWN, port: process.env.PORT ?? null, secret: process.env.AGENT_SECRET ?? null }))",
  migrates: 'console.log("began " + Math.random()); setTimeout(() => console.log("ended"), 1500);',
  deaf: 'process.on("SIGTERM", () => console.log("no")); console.log("began"); setInterval(() => {}, 1000);',
  /** Begins, and ends when it is told to. */
  docile: 'console.log("began"); setInterval(() => {}, 1000);',
  hog: "const kept = []; setInterval(() => kept.push(Buffer.alloc(32 << 20, 1)), 5);",
} as const;

export const nodeCommand = (app: keyof typeof apps): string[] => ["node", "-e", apps[app]];
