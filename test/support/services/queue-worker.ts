import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";

/** A queue worker as people write them: takes a job, works on it, acknowledges it after the work, ends after it on SIGTERM. */
const [url = "", name = String(process.pid)] = [process.env.REDIS_URL, process.env.SLUICE_INSTANCE];
const WORK_MS = 60;
/** What a worker that was killed left behind is taken up by another after this. */
const ABANDONED_MS = 2_000;

let isOver = false;
process.on("SIGTERM", () => {
  isOver = true;
});

const redis = await createClient({ url }).connect();
await redis.sAdd("releases", process.env.SLUICE_VERSION ?? "?");

async function work(id: string, job: string): Promise<void> {
  await redis.incr(`begun:${job}`);
  await sleep(WORK_MS);
  // Both or neither: what was acknowledged was counted, and the other way round.
  await redis.multi().hIncrBy("done", job, 1).xAck("jobs", "workers", id).exec();
}

while (!isOver) {
  const left = await redis.xAutoClaim("jobs", "workers", name, ABANDONED_MS, "0", { COUNT: 1 });
  const read = await redis.xReadGroup("workers", name, { key: "jobs", id: ">" }, { COUNT: 1, BLOCK: 200 });
  const streams = (read ?? []) as { messages: { id: string; message: { job?: string } }[] }[];
  const messages = [...left.messages, ...streams.flatMap((stream) => stream.messages)];
  for (const found of messages) if (found?.message.job) await work(found.id, found.message.job);
}
await redis.close();
