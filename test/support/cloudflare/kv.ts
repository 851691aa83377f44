import { z } from "zod";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Endpoint, notFound, Refusal } from "./api.ts";
import { drop, type World } from "./world.ts";

const BASE = "/accounts/:account/storage/kv/namespaces";
const READ = "Account › Workers KV Storage › Read";
const EDIT = "Account › Workers KV Storage › Edit";

const newNamespace = z.strictObject({ title: z.string().min(1).max(512) });

/** KV namespaces, and the names of the keys in them. */
export const kv = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: BASE,
    permission: READ,
    query: ["order", "direction"],
    pages: { size: 20, max: 1_000 },
    handle: (call) =>
      ofAccount(world, call).namespaces.map(({ id, title }) => ({ id, title, supports_url_encoding: true })),
  },
  {
    method: "POST",
    path: BASE,
    permission: EDIT,
    body: newNamespace,
    handle: (call) => {
      const { title } = bodyOf(call, newNamespace);
      if (ofAccount(world, call).namespaces.some((one) => one.title === title))
        throw new Refusal(
          400,
          10_014,
          "create namespace: 'a namespace with this account ID and title already exists'",
        );
      const namespace = { id: world.hexId(), title };
      world.namespaces.push(namespace);
      return { ...namespace, supports_url_encoding: true };
    },
  },
  {
    method: "GET",
    path: `${BASE}/:namespace/keys`,
    permission: READ,
    query: ["limit", "cursor", "prefix"],
    handle: (call) => {
      const found = ofAccount(world, call).namespaces.find(({ id }) => id === call.params.namespace);
      if (!found) throw notFound("namespace");
      return (found.keys ?? []).map((name) => ({ name }));
    },
  },
  {
    method: "DELETE",
    path: `${BASE}/:namespace`,
    permission: EDIT,
    handle: (call) => {
      const found = ofAccount(world, call).namespaces.find(({ id }) => id === call.params.namespace);
      if (!drop(world.namespaces, found)) throw notFound("namespace");
      return null;
    },
  },
];
