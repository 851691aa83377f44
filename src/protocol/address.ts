/** This machine itself, as URLs spell it once they are parsed. */
const LOOPBACK = /^(?:localhost|.+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Whether what goes to an address stays unread and unchanged on its way: by https, or because there is no way to go. */
export const isPrivateWay = ({ protocol, hostname }: URL): boolean =>
  protocol === "https:" || (protocol === "http:" && LOOPBACK.test(hostname));

/** Why no token is sent to an address; `undefined` when one may be. Asked by whoever sends: to be refused there would be too late. */
export function addressProblem(address: string): string | undefined {
  const url = URL.parse(address);
  if (!url || !/^https?:$/.test(url.protocol)) return `the address \`${address}\` is not an https URL`;
  if (url.username !== "" || url.password !== "")
    return `the address of ${url.host} carries a user name: leave it out`;
  return isPrivateWay(url)
    ? undefined
    : `${url.origin} is plain http, where anybody on the way can read the token: use https://${url.host}`;
}
