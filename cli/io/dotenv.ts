const LINE = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)$/;

/**
 * The lines of a dotenv file that its readers take in different ways: a `#` inside an unquoted value (Node's and dotenv's
 * begin a comment, Docker's doesn't), quotes inside quotes, words after them. A secret must not depend on the reader. Never
 * says the value.
 */
export function unclearLines(text: string): string[] {
  const unclear: string[] = [];
  let open: string | undefined;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (open !== undefined) {
      if (line.includes(open)) open = undefined;
      continue;
    }
    const [, name, value = ""] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    const quote = /^["'`]/.exec(value)?.[0];
    if (quote !== undefined && !value.slice(1).includes(quote)) {
      open = quote;
      continue;
    }
    const why = quote === undefined ? unclearPlain(value) : unclearQuoted(value, quote);
    if (why) unclear.push(`  line ${index + 1}: ${name} ${why}`);
  }
  return unclear;
}

const unclearPlain = (value: string): string | undefined =>
  /\S#/.test(value)
    ? "has a # in a value without quotes: put the value into single quotes, or a space before the # of a comment"
    : undefined;

function unclearQuoted(value: string, quote: string): string | undefined {
  const end = value.indexOf(quote, 1);
  if (value[end - 1] === "\\") return `has \\${quote} inside ${quote}…${quote}: use the other kind of quotes`;
  const rest = value.slice(end + 1).trim();
  return rest === "" || rest.startsWith("#") ? undefined : "goes on after its closing quote";
}
