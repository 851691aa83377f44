import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";

const entry = z.object({ integrity: z.string().optional(), link: z.boolean().optional() });
const lockSchema = z.object({ packages: z.record(z.string(), entry) });

test.each(["package-lock.json", "examples/shop/package-lock.json"])(
  "every package of %s is known by its hash, wherever it comes from",
  (file) => {
    const { packages } = lockSchema.parse(JSON.parse(readFileSync(file, "utf8")));
    const bare = Object.entries(packages).filter(
      ([name, { integrity, link }]) => name !== "" && !link && !integrity,
    );
    expect(bare.map(([name]) => name)).toEqual([]);
  },
);
