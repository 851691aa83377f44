/** A D1 binding that counts what goes over the wire: each execution, and each batch once. */
export function countQueries(db: D1Database): { counted: { queries: number }; DB: D1Database } {
  const counted = { queries: 0 };
  const DB = new Proxy(db, {
    get(target, key) {
      if (key === "prepare") return (sql: string) => counting(target.prepare(sql), counted);
      const value = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        counted.queries += 1;
        return value.apply(target, args);
      };
    },
  });
  return { counted, DB };
}

function counting(statement: D1PreparedStatement, counted: { queries: number }): D1PreparedStatement {
  return new Proxy(statement, {
    get(target, key) {
      const value = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (key === "bind") return counting(value.apply(target, args), counted);
        counted.queries += 1;
        return value.apply(target, args);
      };
    },
  });
}
