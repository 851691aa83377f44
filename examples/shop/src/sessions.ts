import { randomBytes } from "node:crypto";
import { createClient } from "redis";
import { UnavailableError, within } from "./deadline.ts";
import { settings } from "./settings.ts";

/**
 * Sessions live in Redis and hold nothing but the user's id: old and new version read each other's, so their shape is a
 * contract between releases, just like a column.
 */
const KEEP_SECONDS = 7 * 24 * 3600;
const ANSWER_WITHIN_MS = 2_000;

const client = createClient({
  url: settings.redisUrl,
  // Fail now rather than hold visitors until Redis is back.
  disableOfflineQueue: true,
  socket: { connectTimeout: 2_000, reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, 1_000) },
});
let lastError = "";
client.on("error", (error: Error) => {
  // The same words each second would bury everything else.
  const words = error.message || error.name;
  if (words !== lastError) console.error(`Redis: ${words}`);
  lastError = words;
});
client.on("ready", () => {
  lastError = "";
});

/**
 * Resolves when Redis answers, or after 2 s: the shop also opens without it, degraded, and keeps trying. Were it not waited
 * for, an instance would be ready and turn its first visitors away.
 */
export async function openSessions(): Promise<void> {
  const connected = client.connect().catch((error) => console.error(`Redis: gave up connecting: ${error}`));
  try {
    await within(ANSWER_WITHIN_MS, "Redis", connected);
  } catch (error) {
    console.error(`opening without sessions: ${error instanceof Error ? error.message : error}`);
  }
}

export async function closeSessions(): Promise<void> {
  // An orderly close has nobody to wait for when there is no connection.
  if (client.isReady) await client.close();
  else client.destroy();
}

/** Starts a session and answers its id. */
export async function startSession(userId: string): Promise<string> {
  const id = randomBytes(32).toString("base64url");
  await ask(client.set(keyOf(id), userId, { expiration: { type: "EX", value: KEEP_SECONDS } }));
  return id;
}

/** The user whose session it is; each use keeps it alive for another week. */
export async function userOf(sessionId: string): Promise<string | undefined> {
  return (await ask(client.getEx(keyOf(sessionId), { type: "EX", value: KEEP_SECONDS }))) ?? undefined;
}

export async function pingSessions(): Promise<void> {
  await ask(client.ping());
}

export const sessionCookie = (id: string, isSecure: boolean): string =>
  `sid=${id}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${KEEP_SECONDS}${isSecure ? "; Secure" : ""}`;

const keyOf = (id: string) => `session:${id}`;

async function ask<T>(answer: Promise<T>): Promise<T> {
  try {
    return await within(ANSWER_WITHIN_MS, "Redis", answer);
  } catch (error) {
    throw new UnavailableError(`Redis: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}
