import { describe, expect, it } from "vitest";
import { random } from "../../../bench/canary/random.ts";
import { addCompared, differing } from "../../../src/domain/canary/differing.ts";
import {
  canaryConfig,
  decide,
  init,
  describe as inWords,
  parse,
  renew,
  serialise,
  update,
} from "../../../src/domain/canary/index.ts";
import { type Compared, Comparisons, differences, fieldsOf } from "../../../src/domain/routing/compare.ts";

const ROUTES = 40;

/** An answer with what differs each time anyhow: ids, times, order, a flag by chance. */
function answerOf(route: number, uniform: () => number) {
  const items = [1, 2, 3, 4].map((id) => ({
    id,
    name: `item ${id}`,
    price: id * 10,
    stock: { left: 5, at: uniform() },
  }));
  return {
    id: `${route}-${Math.floor(uniform() * 1e9)}`,
    generatedAt: Math.floor(uniform() * 1e12),
    experiment: uniform() < 0.5,
    total: 100,
    currency: "EUR",
    items: items.sort(() => uniform() - 0.5),
    ranking: [3, 1, 2],
    users: { [Math.floor(uniform() * 1e9)]: { role: "admin" } },
  };
}
type Answer = ReturnType<typeof answerOf>;

/** One fault in each of the first twenty routes, of five kinds, and what it is to be named. */
const FAULTS: readonly (readonly [field: string, fault: (answer: Answer) => unknown])[] = [
  ["$.total", (answer) => ({ ...answer, total: 99 })],
  ["$.currency", ({ currency: _, ...answer }) => answer],
  [
    "$.items[].price",
    (answer) => ({ ...answer, items: answer.items.map((item) => ({ ...item, price: String(item.price) })) }),
  ],
  ["$.users.{}.role", (answer) => ({ ...answer, users: { 1234: { role: null } } })],
  ["$.ranking[] order", (answer) => ({ ...answer, ranking: [1, 2, 3] })],
];

const see = (answer: unknown) => ({
  status: 200,
  type: "application/json",
  fields: fieldsOf(JSON.stringify(answer)),
});

/** So many mirrored GETs, spread over the routes by chance. */
function mirrored(gets: number, seed: number, faulty: number): Compared {
  const { uniform } = random(seed, 16);
  const sum = new Comparisons();
  for (let n = 0; n < gets; n += 1) {
    const route = Math.floor(uniform() * ROUTES);
    const fault = route < faulty ? FAULTS[route % FAULTS.length]?.[1] : undefined;
    const [first, second, own] = [1, 2, 3].map(() => answerOf(route, uniform)) as [Answer, Answer, Answer];
    sum.count({
      route: `GET /r${String.fromCharCode(97 + (route % 26))}${route < 26 ? "" : "x"}`,
      canary: differences(see(first), see(fault ? fault(own) : own)),
      stable: differences(see(first), see(second)),
    });
  }
  return sum.read();
}

const fields = (more: Partial<Compared["fields"][number]>) => ({
  routes: [{ route: "GET /a", answers: 40 }],
  fields: [{ route: "GET /a", field: "$.total", canary: 0, stable: 0, both: 0, ...more }],
});

describe("fields that differ only for the canary", () => {
  it("are found: 20 of 20 faults among random ids, times and order, in 2,000 mirrored GETs, and nothing else", () => {
    for (const seed of [1, 2]) {
      const found = differing(mirrored(2_000, seed, 20));
      const total = (found?.named.length ?? 0) + (found?.more ?? 0);
      expect(total, `seed ${seed}`).toBe(20);
    }
  });

  it("are named by route and path, the likeliest first", () => {
    const found = differing(mirrored(1_200, 4, 5));
    const named = found?.named.map(({ route, field }) => `${route} ${field}`).sort();
    expect(named).toEqual(FAULTS.map(([field], n) => `GET /r${String.fromCharCode(97 + n)} ${field}`).sort());
    for (const { stable, canary, answers } of found?.named ?? []) {
      expect([stable, canary]).toEqual([0, answers]);
    }
  });

  it("are none of 10,000 fields that differ by chance, though each is looked at thirty times", () => {
    const { uniform } = random(9, 16);
    let named = 0;
    for (let field = 0; field < 10_000; field += 1) {
      const noise = 0.02 + 0.98 * uniform();
      let [canary, stable] = [0, 0];
      let isNamed = false;
      for (let look = 0; look < 30 && !isNamed; look += 1) {
        for (let n = 0; n < 10; n += 1) {
          const own = uniform() < noise;
          const other = uniform() < noise;
          if (own && !other) canary += 1;
          if (other && !own) stable += 1;
        }
        isNamed = differing(fields({ canary, stable })) !== null;
      }
      if (isNamed) named += 1;
    }
    expect(named).toBeLessThanOrEqual(1);
  });

  it("are not named on thin data, nor where stable differs from itself as often", () => {
    expect(differing(fields({ canary: 14 }))).toBeNull();
    expect(differing(fields({ canary: 15 }))?.named[0]).toMatchObject({ canary: 15, stable: 0, answers: 40 });
    expect(differing(fields({ canary: 20, stable: 15 }))).toBeNull();
    expect(differing(fields({ both: 40 }))).toBeNull();
    // A fault on top of noise.
    expect(differing(fields({ canary: 60, stable: 15, both: 20 }))?.named[0]).toMatchObject({
      canary: 80,
      stable: 35,
    });
  });
});

describe("an object whose keys are names", () => {
  const USERS = Array.from({ length: 2_000 }, (_, n) =>
    [n % 20, Math.floor(n / 20) % 20, Math.floor(n / 400)].map((at) => "abcdefghijklmnopqrst"[at]).join(""),
  );
  /** Windows of ten comparisons, three users of 2,000 in each answer. */
  function compare(windows: number, fault: (role: string) => string, noise = 0) {
    const { uniform } = random(21, 16);
    let past: ReturnType<typeof addCompared> | undefined;
    for (let k = 0; k < windows; k += 1) {
      const window = new Comparisons();
      for (let n = 0; n < 10; n += 1) {
        const users = [1, 2, 3].map(() => USERS[Math.floor(uniform() * USERS.length)] ?? "");
        const answer = (roleOf: (role: string) => string) => {
          const role = uniform() < noise ? "guest" : "admin";
          return see({
            total: 1,
            users: Object.fromEntries(users.map((user) => [user, { role: roleOf(role) }])),
          });
        };
        const [first, second, own] = [answer(String), answer(String), answer(fault)];
        window.count({
          route: "GET /a",
          canary: differences(first, own),
          stable: differences(first, second),
        });
      }
      past = addCompared(past, window.read());
      expect(past.fields.length).toBeLessThan(50);
    }
    return past && differing(past);
  }

  it("is one field, whoever they are, and named when the canary's differ", () => {
    expect(compare(20, () => "owner")?.named).toMatchObject([{ route: "GET /a", field: "$.users.{}.role" }]);
  });

  it("is not named where all names of an answer differ by chance, as stable's do", () => {
    expect(compare(360, String, 0.1)).toBeNull();
  });

  it("is none where the same fields differ again and again, however many", () => {
    const many = Array.from({ length: 30 }, (_, n) => ({
      ...{ route: "GET /a", field: `$.prices.${USERS[n]}` },
      ...{ canary: 1, stable: 0, both: 0 },
    }));
    let past: ReturnType<typeof addCompared> | undefined;
    for (let k = 0; k < 20; k += 1)
      past = addCompared(past, { routes: [{ route: "GET /a", answers: 1 }], fields: many });
    expect(past?.fields).toHaveLength(30);
    expect(past && differing(past)).toMatchObject({ more: 25 });
  });
});

describe("a verdict", () => {
  const window = { canary: { n: 20, errors: 0 }, baseline: { n: 180, errors: 0 } };
  const judged = (compared: Compared) => update(update(init(), window), { ...window, compared });

  it("names them with their counts, and is no other for it", () => {
    const state = judged(fields({ canary: 37 }));
    const [decision, plain] = [decide(state), decide(judged(fields({})))];
    expect(inWords(decision, "rollback", "on stable", "v42")).toMatch(
      /; v42 answers otherwise than stable: GET \/a \$\.total in 37 of 40 \(stable with itself 0\); if meant, mirror: \{ ignore: \["\$\.total"\] \}$/,
    );
    expect(inWords(plain)).not.toContain("otherwise");
    expect(decision.answersCompared).toBe(40);
    const { differing: _, ...rest } = decision;
    expect(rest).toEqual(plain);
  });

  it("adds up what its windows compared, through storage and a renewal", () => {
    const half = fields({ canary: 8 });
    const first = parse(serialise(judged(half)));
    if (!first.ok) throw new Error(first.error.detail);
    const both = update(renew(first.value), { ...window, compared: half });
    expect(both.compared).toEqual(addCompared(half, half));
    expect(decide(both).differing?.named).toMatchObject([{ canary: 16, answers: 80 }]);
  });

  it("names nothing that is to differ, and what lies in it neither", () => {
    const judgedWithout = (ignore: readonly string[]) => {
      const names = ["$.meta.build", "$.meta.tags[] order", "$.metadata", "$.total", "status"];
      const all = names.map((field) => ({ route: "GET /a", field, canary: 37, stable: 0, both: 0 }));
      const compared = { routes: fields({}).routes, fields: all };
      const state = update(update(init([], canaryConfig({ ignore })), window), { ...window, compared });
      return decide(state)
        .differing?.named.map(({ field }) => field)
        .sort();
    };
    expect(judgedWithout(["$.meta", "$.total"])).toEqual(["$.metadata", "status"]);
    expect(judgedWithout(["$"])).toEqual(["status"]);
  });

  it("names five, and says how many more", () => {
    const many = Array.from({ length: 9 }, (_, n) => ({
      ...fields({ canary: 20 + n }).fields[0],
      field: `$.f${n}`,
    }));
    const compared = { routes: fields({}).routes, fields: many as Compared["fields"] };
    expect(inWords(decide(judged(compared)))).toMatch(
      /\$\.f8 in 28 .*\$\.f4 in 24 of 40 \(stable with itself 0\) and 4 more; if meant, /,
    );
  });
});
