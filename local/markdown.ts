/** Outside of code `<name>` would be taken for markup. */
const cell = (text: string) =>
  text
    .replaceAll("|", "\\|")
    .split("`")
    .map((part, index) => (index % 2 === 0 ? part.replaceAll("<", "\\<") : part))
    .join("`");

/** A table in Markdown; a bar or a `<` in a cell is one. */
export const markdownTable = (headings: readonly string[], rows: readonly (readonly string[])[]): string =>
  [
    `| ${headings.join(" | ")} |`,
    `|${"---|".repeat(headings.length)}`,
    ...rows.map((row) => `| ${row.map(cell).join(" | ")} |`),
  ].join("\n");
