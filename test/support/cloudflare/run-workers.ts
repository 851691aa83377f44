import { Miniflare } from "miniflare";
import { migrate } from "../../../local/migrate.ts";
import type { Worker, World } from "./world.ts";

/** Runs in workerd what was uploaded to the stand-in, as it was uploaded: modules, bindings and secrets. */
export async function runUploaded(world: World, name: string): Promise<Miniflare> {
  const worker = world.workers.get(name);
  if (!worker) throw new Error(`no Worker ${name} was uploaded`);
  const miniflare = new Miniflare({
    cf: false,
    port: 0,
    host: "127.0.0.1",
    workers: [
      {
        config: {
          name,
          compatibilityDate: worker.compatibilityDate,
          manifest: {
            mainModule: worker.mainModule,
            modules: Object.fromEntries(
              Object.entries(worker.modules)
                .filter(([file]) => !file.endsWith(".map"))
                .map(
                  ([file, contents]) =>
                    [file, { type: file.endsWith(".txt") ? "text" : "esm", contents }] as const,
                ),
            ),
          },
          env: Object.assign({}, ...worker.bindings.map((one) => bound(worker, one))),
          exports: Object.fromEntries(
            worker.classes.map((one) => [
              one,
              { type: "durable-object" as const, storage: "sqlite" as const },
            ]),
          ),
        },
      },
    ],
  });
  await miniflare.ready;
  await migrate(await miniflare.getD1Database("DB", name));
  return miniflare;
}

type Bindings = NonNullable<ConstructorParameters<typeof Miniflare>[0]["workers"]>[number]["config"]["env"];

function bound(
  { name: worker }: Worker,
  { type, name, ...more }: Worker["bindings"][number],
): NonNullable<Bindings> {
  switch (type) {
    case "plain_text":
    case "secret_text":
      return { [name]: { type: "text", value: String(more.text) } };
    case "d1":
      return { [name]: { type: "d1", id: String(more.id) } };
    case "kv_namespace":
      return { [name]: { type: "kv", id: String(more.namespace_id) } };
    case "durable_object_namespace":
      return { [name]: { type: "durable-object", worker, exportName: String(more.class_name) } };
    // Left out, as in installations from before there was one: control counts by itself then.
    case "ratelimit":
      return {};
    default:
      throw new Error(`a binding of type ${type} is not known here`);
  }
}
