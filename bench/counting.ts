/** Source for a module around a Worker: `database(db, counts)` is a D1 binding that counts statements into `counts.queries`; `through` wraps any binding. */
export const DATABASE = `const raw = new WeakMap();
const through = (target, on) => new Proxy(target, {
  get: (_, key) => {
    const value = Reflect.get(target, key);
    return typeof value === "function" ? (...args) => on(key, args, (given) => Reflect.apply(value, target, given)) : value;
  },
});
const statement = (target, counts) => {
  const made = through(target, (key, args, call) => {
    if (key === "bind") return statement(call(args), counts);
    counts.queries += 1;
    return call(args);
  });
  raw.set(made, target);
  return made;
};
const database = (db, counts) => through(db, (key, args, call) => {
  if (key === "prepare") return statement(call(args), counts);
  if (key !== "batch") return call(args);
  counts.queries += args[0].length;
  return call([args[0].map((one) => raw.get(one) ?? one)]);
});
`;
