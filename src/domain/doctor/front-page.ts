import { nameOf, prefixOf, sitesOver } from "../routing/site.ts";

/** What a visitor would meet at an app that nobody visits yet: judged from a walk over its front page. Pure. */

/** One answer of the walk, as the app gave it. */
export interface Page {
  /** With the public name, by https: `https://shop.example.com/`. */
  readonly url: string;
  readonly status: number;
  /** As the app wrote it. */
  readonly location: string | null;
  readonly cookies: readonly string[];
  readonly contentType: string;
  /** Its beginning. */
  readonly body: string;
}

export interface Walk {
  readonly pages: readonly Page[];
  /** `answered`: the last page is none that leads on. `elsewhere`: it leads to another site. `long`: it leads on for longer than a browser follows. */
  readonly end: "answered" | "elsewhere" | "loop" | "long";
}

/** The app's names, and what it might take for its name. */
export interface Names {
  /** What it gets as `Host`. */
  readonly host: string;
  readonly hostnames: readonly string[];
  /** Host and port of the instance's origin. */
  readonly origin: string;
}

export interface Sight {
  /** Stable: `host_refused`, `redirect_loop`. */
  readonly code: string;
  readonly detail: string;
  readonly fix: string;
  /** No visitor would get anything: not a matter of taste. */
  readonly fatal: boolean;
}

/** Everything there is to say, what is fatal first. */
export function judgeLook(walk: Walk, names: Names): Sight[] {
  const sights = [
    ...loops(walk, names),
    ...walk.pages.flatMap((page) => [
      ...refused(page, names),
      ...leads(page, names),
      ...cookies(page),
      ...troubles(page),
    ]),
    ...walk.pages.slice(-1).flatMap((page) => [...addresses(page, names), ...defaults(page)]),
  ];
  const byCode = new Map(sights.map((sight) => [sight.code, sight]));
  return [...byCode.values()].sort((one, other) => Number(other.fatal) - Number(one.fatal));
}

const warn = (code: string, detail: string, fix: string): Sight => ({ code, detail, fix, fatal: false });
const fatal = (code: string, detail: string, fix: string): Sight => ({ code, detail, fix, fatal: true });

const HTTPS =
  "it takes visitors' https for http: have it believe X-Forwarded-Proto (Django: SECURE_PROXY_SSL_HEADER; Rails: config.assume_ssl; Laravel: trustProxies(at: '*'); Express: trust proxy; Spring: server.forward-headers-strategy=framework; WordPress: $_SERVER['HTTPS'] = 'on')";

function loops({ pages, end }: Walk, { host }: Names): Sight[] {
  const last = pages.at(-1);
  if (end === "long" && last) {
    const detail = `after ${pages.length} pages ${last.url} still leads on (to ${last.location}), and browsers give up`;
    return [fatal("too_many_redirects", detail, HTTPS)];
  }
  if (end !== "loop" || !last) return [];
  const fix = `${HTTPS}; or it insists on another name than ${host}`;
  return [fatal("redirect_loop", `GET ${last.url} leads in a circle (to ${last.location})`, fix)];
}

/** How frameworks say that they don't know the name they were asked by. */
const REFUSALS: readonly (readonly [number, RegExp, (host: string) => string])[] = [
  [
    400,
    /DisallowedHost|Invalid HTTP_HOST header|^\s*(?:<!doctype html>\s*<html[^>]*>\s*<head>\s*<title>Bad Request \(400\)|<h1>Bad Request \(400\)<\/h1>)/i,
    (host) => `Django: add ${host} to ALLOWED_HOSTS, for instance os.environ["SLUICE_HOSTNAME"]`,
  ],
  [403, /Blocked hosts?:/i, (host) => `Rails: config.hosts << "${host}" (ENV["SLUICE_HOSTNAME"])`],
  [
    403,
    /Blocked request\. This host/i,
    (host) => `Vite: add ${host} to server.allowedHosts or preview.allowedHosts; better serve a build`,
  ],
  [
    403,
    /Invalid Host header/i,
    (host) => `webpack-dev-server: add ${host} to allowedHosts; better serve a build`,
  ],
  [400, /Untrusted Host/i, (host) => `Symfony, Laravel: add ${host} to the trusted hosts`],
  [
    400,
    /Invalid host header/i,
    (host) => `Starlette, FastAPI: add ${host} to TrustedHostMiddleware's allowed_hosts`,
  ],
  [400, /trusted domain/i, (host) => `Nextcloud: add ${host} to trusted_domains`],
];

function refused({ url, status, body }: Page, { host }: Names): Sight[] {
  const known = REFUSALS.find(([code, words]) => code === status && words.test(body));
  if (known)
    return [
      fatal("host_refused", `GET ${url} answers ${status}: the app refuses its own hostname`, known[2](host)),
    ];
  if (status !== 421) return [];
  return [
    fatal(
      "host_refused",
      `GET ${url} answers 421: the app is not for ${host}`,
      `tell it that its name is ${host}`,
    ),
  ];
}

const LOOPBACK = /^(?:localhost|127\.[0-9.]+|0\.0\.0\.0|\[::1?\]|host\.docker\.internal)$/i;

/** Where an answer sends the visitor. */
function leads({ url, status, location }: Page, names: Names): Sight[] {
  if (location === null || status < 300 || status > 399) return [];
  const to = urlOf(location, url);
  if (to === null)
    return [
      warn("bad_location", `GET ${url} leads to ${location}, which is no address`, "mend it in the app"),
    ];
  if (LOOPBACK.test(to.hostname))
    return [
      fatal(
        "leads_inside",
        `GET ${url} leads to ${location}, which no visitor reaches`,
        `set the app's own address to https://${names.host}`,
      ),
    ];
  if (isOrigin(to, names))
    return [
      warn(
        "own_address",
        `GET ${url} leads to ${location}, the instance's own address; visitors get the public one`,
        `set the app's own address to https://${names.host}`,
      ),
    ];
  if (!isOwn(to, names))
    return [
      warn(
        "leads_elsewhere",
        `GET ${url} leads to https://${to.host}, which is not this environment's`,
        `right for a sign-in or a site that lives there; else set the app's own address to https://${names.host} (WordPress: WP_HOME; Rails: config.force_ssl host; Next: basePath or redirects)`,
      ),
    ];
  return to.protocol === "http:"
    ? [warn("http_redirect", `GET ${url} leads to ${location}, by http; visitors get https`, HTTPS)]
    : [];
}

function cookies({ url, cookies: set }: Page): Sight[] {
  const open = set.filter((cookie) => !/;\s*secure\b/i.test(cookie)).map((cookie) => cookie.split("=", 1)[0]);
  if (open.length === 0) return [];
  return [
    warn(
      "cookie_without_secure",
      `GET ${url} sets ${open.join(", ")} without Secure`,
      `${HTTPS}; or say Secure where the cookie is made (Django: SESSION_COOKIE_SECURE, CSRF_COOKIE_SECURE; Express: cookie.secure "auto"; Laravel: SESSION_SECURE_COOKIE)`,
    ),
  ];
}

function troubles({ url, status }: Page): Sight[] {
  if (status < 500) return [];
  return [
    warn(
      "server_error",
      `GET ${url} answers ${status}`,
      "see `sluice logs`; a smoke check on this path would end the release here",
    ),
  ];
}

/** Addresses in a page that lead visitors somewhere else than its links should. */
function addresses({ url, contentType, body }: Page, names: Names): Sight[] {
  if (!contentType.includes("html")) return [];
  const found = [...body.matchAll(/<(\w+)[^>]*?\s(href|src|action)=["']?(https?:\/\/[^"'\s>]+)/gi)];
  const sights: Sight[] = [];
  for (const [tag, element = "", , address = ""] of found) {
    const to = urlOf(address, url);
    if (to === null) continue;
    if (LOOPBACK.test(to.hostname) || isOrigin(to, names))
      sights.push(
        warn(
          "own_address_in_page",
          `${url} names ${to.origin}, which no visitor reaches`,
          `set the app's own address to https://${names.host}`,
        ),
      );
    else if (isOwn(to, names) && to.protocol === "http:")
      sights.push(
        warn("http_in_page", `${url} names ${address}, by http: browsers block or warn of it`, HTTPS),
      );
    else if (
      to.protocol === "http:" &&
      /^(?:script|link|img|iframe)$/i.test(element) &&
      !/rel=["']?(?:canonical|alternate)/i.test(tag)
    )
      sights.push(
        warn("mixed_content", `${url} loads ${address}, by http: browsers block it`, "load it by https"),
      );
    else if (/rel=["']?canonical/i.test(tag) && !isOwn(to, names))
      sights.push(
        warn(
          "canonical_elsewhere",
          `${url} says that its canonical address is ${address}`,
          `set the app's own address to https://${names.host}, unless search engines are to list that one`,
        ),
      );
  }
  return sights;
}

const DEFAULTS: readonly (readonly [RegExp, string])[] = [
  [/<title>Welcome to nginx!/i, "nginx"],
  [/Apache2? (?:\w+ )?Default Page|<h1>It works!<\/h1>/i, "Apache"],
  [/The install worked successfully! Congratulations!/i, "Django"],
  [/Yay! You(?:&rsquo;|’|')re on Rails!|<title>Ruby on Rails [0-9.]+<\/title>/i, "Rails"],
  [/you've successfully installed Tomcat/i, "Tomcat"],
  [/<title>Caddy works!/i, "Caddy"],
  [/<title>IIS Windows Server/i, "IIS"],
  [/<title>phpinfo\(\)/i, "phpinfo()"],
  [/<title>Index of \//i, "a directory's listing"],
  [/<title>WordPress &rsaquo; (?:Installation|Setup)/i, "WordPress's installer"],
];

function defaults({ url, status, body }: Page): Sight[] {
  const known = status < 400 ? DEFAULTS.find(([words]) => words.test(body)) : undefined;
  if (!known) return [];
  return [
    warn(
      "default_page",
      `${url} is the default page of ${known[1]}`,
      "is the app's own code in the image, and where the server looks for it?",
    ),
  ];
}

export function urlOf(address: string, base: string): URL | null {
  try {
    return new URL(address, base);
  } catch {
    return null;
  }
}

/** One of the environment's names, at whatever port. */
const isOwn = ({ hostname }: URL, { host, hostnames }: Names): boolean =>
  hostname === host ||
  hostnames.some(
    (name) => nameOf(name) === hostname || (name.startsWith("*.") && hostname.endsWith(name.slice(1))),
  );

/** Of the site of the environment's that an address lies in, the path that it begins with; undefined: it is none of its own. */
export function prefixAt(url: URL, names: Names): string | undefined {
  const own = names.hostnames.filter((site) => nameOf(site) === url.hostname);
  if (own.length === 0) return isOwn(url, names) ? "" : undefined;
  const [site] = sitesOver(own, url.pathname);
  return site === undefined ? undefined : prefixOf(site);
}

/** The instance's own address, as the app sees its connection. */
export const isOrigin = ({ host, hostname }: URL, { origin }: Names): boolean =>
  host === origin || (!LOOPBACK.test(hostname) && hostname === origin.replace(/:[0-9]+$/, ""));
