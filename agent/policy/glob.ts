/**
 * The patterns of a policy: `*` stands for anything within one part of a path, `**` for any number of parts. Nothing else is
 * special, so that whoever reads a policy knows what it lets in; the larger glob languages have braces, classes and
 * negations, each a way to allow more than was meant.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const source = pattern
    .split("**")
    .map((part) => part.split("*").map(literal).join("[^/]*"))
    .join(".*");
  return new RegExp(`^${source}$`, "s").test(text);
}

const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
