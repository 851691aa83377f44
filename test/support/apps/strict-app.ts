/**
 * Apps that mind who they are: they answer as their framework's own host, scheme and origin checks do, set up as docs/apps.md
 * says. Express and Django are the real ones.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { IncomingMessage, RequestListener } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { freePorts } from "../../../local/ports.ts";

interface Seen {
  /** `SLUICE_HOSTNAME`. */
  readonly own: string;
  readonly host: string;
  /** As a framework reads it that trusts its proxy. */
  readonly publicHost: string;
  readonly scheme: string;
  readonly origin: URL | null;
}

const withoutPort = (host: string): string => host.replace(/:[0-9]+$/, "");

function read({ headers }: IncomingMessage, own: string): Seen {
  const { host = "", origin } = headers;
  const [publicHost = host, scheme = "http"] = [
    headers["x-forwarded-host"],
    headers["x-forwarded-proto"],
  ].map((value) => value?.toString());
  return { own, host, publicHost, scheme, origin: origin === undefined ? null : new URL(origin) };
}

/** Null: let in. Else status and words, as the framework refuses. */
type Rule = (seen: Seen) => readonly [status: number, words: string] | null;

const RULES = {
  /** `allowedOrigins` unset: a server action's Origin must be the forwarded host. */
  next: ({ origin, publicHost }) =>
    origin && origin.host !== publicHost ? [500, "Invalid Server Actions request."] : null,
  /** `config.hosts << ENV["SLUICE_HOSTNAME"]`, and Action Cable's same-origin rule. */
  rails: ({ own, host, publicHost, scheme, origin }) => {
    if ([host, publicHost].some((name) => withoutPort(name) !== own)) return [403, `Blocked host: ${host}`];
    return origin && origin.origin !== `${scheme}://${host}` ? [404, "Request origin not allowed"] : null;
  },
  /** TrustHosts with APP_URL's host, TrustProxies at `*`. */
  laravel: ({ own, publicHost }) => (withoutPort(publicHost) === own ? null : [400, "Untrusted Host"]),
  /** `server.forward-headers-strategy=framework`, `requiresSecure()`. */
  spring: ({ scheme, publicHost }) => (scheme === "https" ? null : [302, `https://${publicHost}/`]),
  /** `url: [host: System.get_env("SLUICE_HOSTNAME")]`, `check_origin: true`. */
  phoenix: ({ own, origin }) => (origin && origin.hostname !== own ? [403, "Could not check origin"] : null),
  /** WP_HOME at https, `$_SERVER['HTTPS']` from X-Forwarded-Proto; any other address is led to it. */
  wordpress: ({ own, host, scheme }) =>
    withoutPort(host) === own && scheme === "https" ? null : [301, `https://${own}/`],
} satisfies Record<string, Rule>;
export type Framework = keyof typeof RULES;

export function strictApp(framework: Framework, own: string): RequestListener {
  const rule: Rule = RULES[framework];
  return (request, response) => {
    const [status, words] = rule(read(request, own)) ?? [200, "let in"];
    if (status > 300 && status < 400) response.setHeader("Location", words);
    response.statusCode = status;
    response.end(words);
  };
}

/** What it takes for its own name and scheme, and a page with an ETag. */
export function expressApp(): express.Express {
  const app = express();
  app.set("trust proxy", true);
  app.get("/", ({ hostname, host, protocol }, response) => void response.json({ hostname, host, protocol }));
  app.get("/page", (_, response) => void response.send("the same words each time"));
  return app;
}

const PYTHON = "/usr/bin/python3";
export const hasDjango = spawnSync(PYTHON, ["-c", "import django"]).status === 0;

/** Django, with `SECURE_SSL_REDIRECT` on. */
export async function startDjango(own: string): Promise<{ url: string; stop(): Promise<void> }> {
  const port = await freePorts(1);
  const child: ChildProcess = spawn(PYTHON, [join(import.meta.dirname, "django_app.py")], {
    env: { SLUICE_HOSTNAME: own, PORT: String(port) },
    stdio: "ignore",
  });
  const url = `http://127.0.0.1:${port}`;
  for (const until = Date.now() + 10_000; Date.now() < until; await sleep(50)) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer) break;
  }
  return {
    url,
    stop: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}
