import { createServer } from "node:net";

const FIRST = 22_000;
const LAST = 32_000;

/** The first of `count` ports in a row that nothing listens on. Begins anywhere, since others may look at this moment. */
export async function freePorts(count: number): Promise<number> {
  const rows = Math.floor((LAST - FIRST) / count);
  const begin = Math.floor(Math.random() * rows);
  for (let row = 0; row < rows; row++) {
    const base = FIRST + ((begin + row) % rows) * count;
    const ports = Array.from({ length: count }, (_, index) => base + index);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return base;
  }
  throw new Error(`no ${count} free ports in a row between ${FIRST} and ${LAST}`);
}

/** Whether nothing listens on the port of 127.0.0.1 at this moment. */
export const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
