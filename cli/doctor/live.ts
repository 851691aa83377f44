import { connect } from "node:tls";
import type { DoctorView } from "../../src/protocol/api/doctor.ts";
import { type Interception, interceptionOf } from "../../src/protocol/interception.ts";
import type { Session } from "../session.ts";
import { edgeUrl, nameOf, pathOf } from "../verb.ts";
import type { Check } from "./local.ts";

const DEADLINE_MS = 10_000;
const CERTIFICATE_WARN_DAYS = 14;
/** On Sluice's own 404 for slots that are asked from outside. */
const SHIELD_HEADER = "x-sluice-shield";

/** Asks from this machine what visitors and strangers would: public hostnames lead to the edge, slots lead nowhere. */
export async function examineLive(session: Session, view: DoctorView): Promise<Check[]> {
  const hostnames = [
    ...new Set(view.checks.filter(({ id }) => id === "hostname.route").map(({ subject }) => subject)),
  ];
  const { hostname, protocol } = new URL(session.config.url);
  const certified =
    session.config.edge === undefined && protocol === "https:" ? [hostname, ...hostnames] : [];
  return Promise.all([
    ...view.slots.map(async ({ host, origin }) =>
      judgeShield(host, origin, await ask(origin, session.signal)),
    ),
    ...hostnames.map(async (name) =>
      judgePublic(name, await ask(edgeUrl(session, name) + pathOf(name), session.signal)),
    ),
    ...certified.map(async (name) =>
      judgeCertificate(name, await certificateOf({ host: nameOf(name) }), session.now()),
    ),
  ]);
}

interface Answer {
  /** Null: none, and `error` says why. */
  readonly status: number | null;
  readonly error: string;
  readonly headers: Headers;
  readonly stopped: Interception | null;
}

async function ask(url: string, signal: AbortSignal): Promise<Answer> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
  try {
    // Asks the edge for its marks, which it leaves out at rest.
    const headers = { "x-sluice-trace": "1" };
    const response = await fetch(url, { redirect: "manual", headers, signal: limit });
    const { status, headers: said } = response;
    const stopped = interceptionOf({ status, headers: said, body: await beginningOf(response) });
    return { status, error: "", headers: said, stopped };
  } catch (thrown) {
    const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
    const error = cause instanceof Error ? cause.message : String(cause);
    return { status: null, error, headers: new Headers(), stopped: null };
  }
}

/** Cloudflare's own pages are told by it. Whatever else comes is the app's, and may have no end. */
async function beginningOf({ body }: Response): Promise<string> {
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  const text = (await reader?.read())?.value ?? "";
  await reader?.cancel();
  return text;
}

/** Nobody but the edge may get through to a slot. */
function judgeShield(host: string, origin: string, { status, error, headers, stopped }: Answer): Check {
  const check = { id: "live.shield", subject: host } as const;
  const refused = headers.has(SHIELD_HEADER);
  if (stopped && stopped.by !== "access") {
    const detail = `GET ${origin} from here answered ${status}: ${stopped.words}; the shield behind it can't be seen from here`;
    return { ...check, status: "warn", detail, fix: stopped.fix };
  }
  const access = stopped !== null || status === 401 || status === 403;
  if (refused || access) {
    const by = refused ? "Sluice's shield" : "Cloudflare Access";
    return { ...check, status: "ok", detail: `its slots are closed to the internet by ${by}`, fix: null };
  }
  if (status === null) {
    const detail = `GET ${origin} from here: ${error}; whether the internet is kept out can't be told`;
    return { ...check, status: "warn", detail, fix: "try again from a machine with a way to the internet" };
  }
  const detail = `GET ${origin} from here answered ${status}: its slots are open to the internet`;
  const fix = `the route of the slot's hostname is missing: sluice hosts show ${host} says why control could not make it`;
  return { ...check, status: "fail", detail, fix };
}

/** Every answer that came through the edge carries the request id it gave, also its own error pages. */
function judgePublic(hostname: string, { status, error, headers, stopped }: Answer): Check {
  const check = { id: "live.public", subject: hostname } as const;
  if (status === null) {
    const fix = "is there a proxied DNS record for it? sluice apply makes one where there is none";
    return { ...check, status: "fail", detail: `no answer from here: ${error}`, fix };
  }
  if (stopped) {
    const detail = `answers ${status} to a program: ${stopped.words}; browsers may pass, an app's API and webhooks do not`;
    return { ...check, status: "warn", detail, fix: stopped.fix };
  }
  const release = headers.get("x-sluice-release");
  if (release !== null)
    return { ...check, status: "ok", detail: `answers ${status} from ${release}`, fix: null };
  if (headers.has("x-request-id"))
    return { ...check, status: "ok", detail: `answers ${status} through the edge`, fix: null };
  const detail = `answers ${status}, but not through Sluice's edge`;
  return {
    ...check,
    status: "warn",
    detail,
    fix: "is its Worker route there? (an environment with `marks: never` looks the same)",
  };
}

type Certificate = { readonly validTo: number } | { readonly error: string };

/** The certificate that a server shows for a hostname, or why it is not to be trusted. */
export function certificateOf(at: { host: string; port?: number; address?: string }): Promise<Certificate> {
  const { host, port = 443, address = host } = at;
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, servername: host, timeout: DEADLINE_MS });
    const settle = (certificate: Certificate) => {
      socket.destroy();
      resolve(certificate);
    };
    socket.on("secureConnect", () => settle({ validTo: Date.parse(socket.getPeerCertificate().valid_to) }));
    socket.on("timeout", () => settle({ error: `no TLS handshake within ${DEADLINE_MS / 1_000} s` }));
    socket.on("error", (error) => settle({ error: error.message }));
  });
}

/** What a certificate is worth at `now` (epoch ms). */
export function judgeCertificate(hostname: string, certificate: Certificate, now: number): Check {
  const check = { id: "live.certificate", subject: hostname } as const;
  if ("error" in certificate) {
    const fix = "Universal SSL covers one label below the zone; a new certificate takes some minutes";
    return { ...check, status: "fail", detail: `TLS: ${certificate.error}`, fix };
  }
  const days = Math.floor((certificate.validTo - now) / 86_400_000);
  const detail = `its certificate is good for ${days} more days`;
  if (days >= CERTIFICATE_WARN_DAYS) return { ...check, status: "ok", detail, fix: null };
  return {
    ...check,
    status: "warn",
    detail,
    fix: "Cloudflare renews by itself: look at SSL/TLS in its dashboard",
  };
}
