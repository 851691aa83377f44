import { describe, expect, test } from "vitest";
import { onlyError, specOf, withTop } from "./manifests.ts";

describe("how containers are housed", () => {
  const housed = withTop(`volumes: [uploads:/app/uploads, /srv/shop:/data:ro]
secrets: [DATABASE_URL]
container: { capabilities: [], readOnly: true, tmpfs: [/tmp], ulimits: { nofile: 65536 }, stopSignal: SIGQUIT, shm: 64m }
accessories:
  postgres:
    image: postgres:17
    secrets: [POSTGRES_PASSWORD]
    volumes: [pgdata:/var/lib/postgresql/data]
`);

  test("volumes, secrets, walls and accessories reach the spec", () => {
    expect(specOf(housed)).toMatchObject({
      secrets: ["DATABASE_URL"],
      volumes: [
        { source: "uploads", target: "/app/uploads", readOnly: false },
        { source: "/srv/shop", target: "/data", readOnly: true },
      ],
      container: {
        capabilities: [],
        readOnly: true,
        tmpfs: ["/tmp"],
        ulimits: { nofile: 65_536 },
        stopSignal: "SIGQUIT",
        shmBytes: 64 * 1024 ** 2,
      },
      accessories: {
        postgres: {
          image: "postgres:17",
          env: {},
          secrets: ["POSTGRES_PASSWORD"],
          volumes: [{ source: "pgdata", target: "/var/lib/postgresql/data", readOnly: false }],
          stopGraceMs: 30_000,
        },
      },
    });
  });

  test.each([
    ["volumes: [uploads]", "volumes.0", "must be name:/path or /host/path:/path"],
    ["volumes: ['/srv/../etc:/data']", "volumes.0", "must not contain `..`"],
    ["volumes: [a:/data, b:/data]", "volumes", "mounts two volumes on one path"],
    ["container: { capabilities: [ALL] }", "container.capabilities.0", "must be a Linux capability"],
    ["secrets: [DATABASE-URL]", "secrets.0", "must be the name of a secret"],
    ["secrets: [PORT]", "secrets.0", "is a variable that Sluice sets itself"],
    ["secrets: [SLUICE_RELEASE]", "secrets.0", "is a variable that Sluice sets itself"],
    ["env: { A: x }\nsecrets: [B, A]", "secrets.1", "names `A`, which stands in `env` too"],
    [
      "accessories: { db: { image: 'postgres:17', env: { A: x }, secrets: [A] } }",
      "accessories.db.secrets.0",
      "names `A`, which stands in `env` too",
    ],
  ])("%s is refused at %s", (text, pointer, detail) => {
    expect(onlyError(withTop(text))).toMatchObject({ pointer });
    expect(onlyError(withTop(text)).detail).toContain(detail);
  });
});
