/** The tables of docs/limits.md that are measured: written between the two marks, which stay. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bill, charge, ITEMS, PLAN_USD, PRICES, READ_ON, tightest, type Usage } from "./prices.ts";

const FILE = join(import.meta.dirname, "../../docs/limits.md");
const BEGIN = "<!-- npm run bench -- cost: from here -->";
const END = "<!-- to here -->";

export interface Measured {
  /** What was measured, in the words of a row. */
  readonly units: Readonly<Record<string, Usage>>;
  readonly hobbyDay: Usage;
  readonly paidMonth: Usage;
}

const shown = (amount: number): string => {
  if (amount >= 1e6)
    return `${amount >= 1e9 ? (amount / 1e6).toLocaleString("en-US") : (amount / 1e6).toFixed(1)} M`;
  if (amount >= 10) return Math.round(amount).toLocaleString("en-US");
  return amount === 0 ? "0" : amount.toFixed(amount < 1 ? 2 : 1);
};
const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

function tablesOf({ units, hobbyDay, paidMonth }: Measured): string {
  const names = Object.keys(units);
  const uses = table(
    ["", ...names],
    ITEMS.map((item) => [PRICES[item].words, ...names.map((name) => shown(units[name]?.[item] ?? 0))]),
  );
  const hobby = table(
    ["the hobby example, a day", "used", "Free allows", "share"],
    ITEMS.map((item) => [
      PRICES[item].words,
      shown(hobbyDay[item]),
      shown(PRICES[item].freeADay),
      `${((100 * hobbyDay[item]) / PRICES[item].freeADay).toFixed(1)} %`,
    ]),
  );
  const paid = table(
    ["the Paid example, a month", "used", "included", "US$"],
    [
      ["the plan", "", "", PLAN_USD.toFixed(2)],
      ...ITEMS.map((item) => [
        PRICES[item].words,
        shown(paidMonth[item]),
        shown(PRICES[item].included),
        charge(item, paidMonth[item]).toFixed(2),
      ]),
      ["**all in**", "", "", `**${bill(paidMonth).toFixed(2)}**`],
    ],
  );
  const { item, share } = tightest(hobbyDay);
  const words = `Of all allowances the hobby example uses most of ${PRICES[item].words}: ${(100 * share).toFixed(0)} % of a day's. Prices were read on ${READ_ON}.`;
  return [uses, hobby, words, paid].join("\n\n");
}

export function writeTables(measured: Measured): void {
  const text = readFileSync(FILE, "utf8");
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined)
    throw new Error(`${FILE} has lost its marks ${BEGIN} and ${END}`);
  writeFileSync(FILE, `${before}${BEGIN}\n\n${tablesOf(measured)}\n\n${END}${after}`);
}
