import { commandOf, type Draft, nameOf } from "./values.ts";

/** What lies in an app's folder: its Dockerfile and Procfile. */

export interface DockerfileFacts {
  /** Of the last stage. */
  readonly port: number | undefined;
  readonly hasHealthcheck: boolean;
}

export function readDockerfile(text: string | undefined): DockerfileFacts {
  // Lines that end with a backslash go on.
  const lines = (text ?? "").replace(/\\\r?\n/g, " ").split(/\r?\n/);
  const from = lines.findLastIndex((line) => /^\s*FROM\s/i.test(line));
  const stage = lines.slice(Math.max(0, from));
  const exposed = stage
    .map((line) => /^\s*EXPOSE\s+(\d+)/i.exec(line)?.[1])
    .find((port) => port !== undefined);
  return {
    port: exposed === undefined ? undefined : Number(exposed),
    hasHealthcheck: stage.some((line) => /^\s*HEALTHCHECK\s+(?!NONE)/i.test(line)),
  };
}

export interface ProcfileFacts {
  readonly web: string[] | undefined;
  readonly release: string[] | undefined;
  readonly workers: Draft;
}

/** `web` is the app, `release` what runs before it, all others its processes. */
export function readProcfile(text: string | undefined): ProcfileFacts {
  const found = new Map(
    (text ?? "").split(/\r?\n/).flatMap((line): [string, string[]][] => {
      const [, name, rest] = /^([A-Za-z0-9_-]+):\s*(.+)$/.exec(line) ?? [];
      const command = commandOf(rest);
      return name === undefined || command === undefined ? [] : [[name, command]];
    }),
  );
  const workers = [...found].filter(([name]) => name !== "web" && name !== "release");
  return {
    web: found.get("web"),
    release: found.get("release"),
    workers: Object.fromEntries(workers.map(([name, command]) => [nameOf(name), { command }])),
  };
}
