/** GitHub's own API; an Enterprise Server's is `https://<host>/api/v3`, one with data residency `https://api.<name>.ghe.com`. */
export const GITHUB_API = "https://api.github.com";

/** The base of an API as it is asked, from what people write: a bare host is an Enterprise Server's. */
export function apiBase(text: string): string {
  const url = URL.parse(text);
  if (!url) return text;
  const path = url.pathname.replace(/\/+$/, "");
  const isServer = path === "" && !url.hostname.startsWith("api.");
  return `${url.origin}${isServer ? "/api/v3" : path}`;
}

/** Where people see a repository (`owner/name`) that an API tells of. */
export function webAddressOf(api: string, repository: string): string {
  const { protocol, host } = new URL(api);
  return `${protocol}//${host.replace(/^api\./, "")}/${repository}`;
}

/** Whether a release's repository, as whoever made it says, is the one at that web address. Case doesn't count there. */
export const isRepository = (address: string, said: string | null): boolean =>
  said !== null && normal(said) === normal(address);

function normal(address: string): string | null {
  const url = URL.parse(address);
  return url && `${url.host}${url.pathname.replace(/(?:\.git)?\/*$/, "")}`.toLowerCase();
}
