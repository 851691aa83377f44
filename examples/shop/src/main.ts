import { createServer } from "node:http";
import { announceStop, answer } from "./app.ts";
import { closeDatabase } from "./database.ts";
import { closeSessions, openSessions } from "./sessions.ts";
import { settings } from "./settings.ts";

const name = `shop ${settings.version} (step ${settings.step})`;

await openSessions();
const server = createServer(answer);
// Longer than whoever stands in front keeps idle connections (cloudflared: 90 s), so that it is never us who closes one
// at the moment a request is sent into it.
server.keepAliveTimeout = 95_000;
server.listen(settings.port, "0.0.0.0", () => console.log(`${name} listens on ${settings.port}`));

let isStopping = false;

/** No new connections; requests under way are finished, then what they need is closed. */
async function stop(signal: NodeJS.Signals): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  console.log(`${name}: ${signal}, finishing what is under way`);
  announceStop();
  const { promise: isClosed, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  await isClosed;
  const ends = await Promise.allSettled([closeDatabase(), closeSessions()]);
  for (const end of ends) if (end.status === "rejected") console.error(`${name}:`, end.reason);
  console.log(`${name}: gone`);
  process.exit(0);
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
