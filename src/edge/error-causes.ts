/** What the edge says when it can't forward a request at all. Codes and what to do about them: docs/edge.md. */
import type { Route } from "../domain/routing/choose.ts";
import type { ErrorAnswer } from "./error-answer.ts";

export const EDGE_FAILED: ErrorAnswer = {
  status: 500,
  code: "edge_failed",
  title: "The request could not be handled",
  detail: "It is logged under the request id; trying again may help.",
};

export const USER_IN_HOST: ErrorAnswer = {
  status: 400,
  code: "bad_request",
  title: "The Host header is not valid",
  detail: "It names a user (RFC 9110 §7.2).",
};

export const UPLOAD_TOO_SLOW: ErrorAnswer = {
  status: 408,
  code: "upload_too_slow",
  title: "The upload took too long",
  detail: "A body of up to 64 KiB has to arrive within 60 s.",
};

export const unknownHostname = (hostname: string): ErrorAnswer => ({
  status: 404,
  code: "hostname_unknown",
  title: "Nothing is served here",
  detail: `No app has the hostname ${hostname}. If it should have: name it in the app's sluice.yaml and apply that.`,
});

export const tableUnavailable = (hostname: string): ErrorAnswer => ({
  status: 503,
  code: "table_unavailable",
  title: "Not available just now",
  detail: `The routing table of ${hostname} could be had neither from the control plane nor from its copies.`,
  retryAfterS: 2,
});

export const noRelease = ({ table }: Route): ErrorAnswer => ({
  status: 503,
  code: "no_release",
  title: "Nothing is live here yet",
  detail: `${table.app} has no live release in ${table.environmentName}. Deploy one with: sluice deploy`,
  retryAfterS: 5,
});

export const noInstance = ({ table }: Route): ErrorAnswer => ({
  status: 503,
  code: "no_instance",
  title: "Not available just now",
  detail: `No release of ${table.app} in ${table.environmentName} has an instance to send this request to.`,
  retryAfterS: 5,
});

/** Hardly anybody reads it: most have gone. */
export const brokenOff = ({ table }: Route): ErrorAnswer => ({
  status: 502,
  code: "origin_unreachable",
  title: "The upload broke off",
  detail: `It ended before ${table.app} (${table.environmentName}) had all of it and had answered.`,
});

export const previewRefused = (reason: string): ErrorAnswer => ({
  status: 403,
  code: "preview_refused",
  title: "Preview refused",
  detail: `This preview can't be shown: ${reason}. Without the token the live release answers.`,
});
