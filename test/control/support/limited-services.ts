import { LIMITS } from "../../support/runtime-limits.ts";
import { bytesOf } from "./bytes-of.ts";
import { invocation } from "./invocation.ts";

/** A call of one of Cloudflare's services that takes one of the invocation's connections. */
function asked<T>(work: () => Promise<T>): Promise<T> {
  const caller = invocation();
  caller?.serve();
  return caller ? caller.connect(work) : work();
}

/** A binding each of whose calls is checked, and then made within the limits of the invocation that makes it. */
const limited = <B extends object>(binding: B, check: (name: string, args: readonly unknown[]) => void): B =>
  new Proxy(binding, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function" || typeof name !== "string") return value;
      return async (...args: unknown[]) => {
        check(name, args);
        return asked(async () => value.apply(target, args));
      };
    },
  });

/** When each key was last written, by the clock of who wrote it. */
const writtenAt = new Map<string, number>();
/** Another test begins, with other clocks. */
export const forgetWrites = (): void => writtenAt.clear();

/** KV, for one whose time is `clock`'s. */
export const limitedKv = (kv: KVNamespace, clock: () => number): KVNamespace =>
  limited(kv, (name, [first, value]) => {
    const keys = Array.isArray(first) ? first : typeof first === "string" ? [first] : [];
    if (keys.length > LIMITS.kv.keys) throw new Error(`KV GET failed: 400 ${keys.length} keys`);
    for (const key of keys)
      if (bytesOf(key) > LIMITS.kv.keyBytes) throw new Error(`KV failed: 414 a key of ${bytesOf(key)} bytes`);
    if (name !== "put" && name !== "delete") return;
    const bytes = typeof value === "string" && name === "put" ? bytesOf(value, LIMITS.kv.valueBytes) : 0;
    if (bytes > LIMITS.kv.valueBytes) throw new Error(`KV PUT failed: 413 a value of ${bytes} bytes`);
    const [key] = keys;
    const sinceMs = clock() - (writtenAt.get(key) ?? Number.NEGATIVE_INFINITY);
    if (sinceMs >= 0 && sinceMs < LIMITS.kv.writeEveryMs)
      throw new Error(`KV PUT failed: 429 Too Many Requests: ${key} was written ${sinceMs} ms ago`);
    writtenAt.set(key, clock());
  });

/** A bucket. Its parts of an upload are not used. */
export const limitedBucket = (bucket: R2Bucket): R2Bucket =>
  limited(bucket, (name, [first, , options]) => {
    if (name === "createMultipartUpload" || name === "resumeMultipartUpload")
      throw new Error(`${name}: limits of uploads in parts are not played here yet`);
    const keys = Array.isArray(first) ? first : typeof first === "string" ? [first] : [];
    if (keys.length > LIMITS.r2.keys) throw new Error(`delete: ${keys.length} keys`);
    for (const key of keys)
      if (bytesOf(key) > LIMITS.r2.keyBytes) throw new Error(`${name}: a key of ${bytesOf(key)} bytes`);
    const { customMetadata = {} } = (options ?? {}) as R2PutOptions;
    const bytes = bytesOf(Object.entries(customMetadata).flat().join(""));
    if (bytes > LIMITS.r2.metadataBytes) throw new Error(`${name}: metadata of ${bytes} bytes`);
  });

/** A namespace whose objects' calls count as its caller's. They take no connection. */
export const limitedObjects = <N extends object>(namespace: N): N =>
  new Proxy(namespace, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name !== "get" && name !== "getByName") return value.bind(target);
      return (...args: unknown[]) => limitedStub(value.apply(target, args) as object);
    },
  });

const limitedStub = (stub: object): object =>
  new Proxy(stub, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        invocation()?.serve();
        // An RPC's `apply` would be asked of the object.
        return Reflect.apply(value, target, args);
      };
    },
  });
