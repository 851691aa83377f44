/**
 * Compares a release's answer with stable's. The visitor has his already, untouched and unread: the request is asked three times
 * more at one moment, once of the release and twice of stable, so that what differs anyhow is known. Values stay in here.
 */

import type { RouteInstance } from "../../domain/routing/choose.ts";
import {
  type Comparison,
  differences,
  fieldsOf,
  mediaType,
  type Seen,
} from "../../domain/routing/compare.ts";
import { OTHER_ROUTES, routeName } from "../../domain/routing/route-name.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { forward, type Outgoing, type Tried } from "../forward.ts";
import type { Visit } from "../visit.ts";

const MOST = { bytes: 16_384, ms: 5_000 };
const NOTHING = { bytes: 0, ms: 0 };
const JSON_TYPE = /^application\/([\w.-]+\+)?json$/;

/** Null: one of the three was lost on its way, which says nothing about the answers. */
export async function compare(
  visit: Visit,
  outgoing: Outgoing,
  { asked, stable }: { readonly asked: Promise<Tried>; readonly stable: readonly RouteInstance[] },
): Promise<Comparison | null> {
  const tries = await Promise.all([asked, ...stable.map((instance) => forward(visit, instance, outgoing))]);
  const [own, first, second] = await Promise.all(tries.map((tried) => see(visit, tried)));
  if (!own || !first || !second || tries.some(({ verdict }) => verdict.pathFault)) return null;
  // A path that stable doesn't know is somebody's invention: it takes no route's place.
  const route = first.status < 400 ? routeName(visit.method, visit.url.target) : OTHER_ROUTES;
  return { route, canary: differences(first, own), stable: differences(first, second) };
}

/** What an answer depends on that one release alone gave out: a copy that says it has the page already gets none. */
export function askWhole(headers: Headers): void {
  for (const name of ["if-none-match", "if-modified-since", "if-range", "range"]) headers.delete(name);
}

async function see({ method }: Visit, { response, attempt }: Tried): Promise<Seen> {
  const status = attempt.kind === "answered" ? attempt.status : 0;
  const type = response?.headers.get("content-type") ?? "";
  const isRead = method === "GET" && JSON_TYPE.test(mediaType(type));
  // Of one that is not read, or breaks off, nothing further is compared.
  const body = await readBody(response?.body ?? null, isRead ? MOST : NOTHING).catch(() => null);
  return { status, type, fields: isRead && body?.end === "whole" ? fieldsOf(textOf(body)) : null };
}
