const FALLBACK =
  /^ENV(?:\[\s*(["'])(\w+)\1\s*\]|\.fetch\(\s*(["'])(\w+)\3\s*\))(?:\s*\|\|\s*(["'])([^"']*)\5)?$/;

/** Where the manifest takes no `${NAME}`: what stands for it when nobody says otherwise. */
export const filled = (text: string): string => text.replace(/\$\{\w+:-([^}]*)\}/g, "$1");

/**
 * A file of Kamal's before Ruby has filled it in: `<%= ENV["X"] || "y" %>` is `${X:-y}`, and what only Ruby can say is left to be
 * found as it stands. Ruby is never run.
 */
export const withoutErb = (text: string): string =>
  text.replace(/<%=\s*(.*?)\s*-?%>/g, (_, code: string) => {
    const match = FALLBACK.exec(code);
    if (!match)
      return `<% ${code
        .replaceAll(/["':#`{}[\],&*?|<>=!%@\\]/g, " ")
        .replaceAll(/\s+/g, " ")
        .trim()} %>`;
    const name = match[2] ?? match[4];
    return match[6] === undefined ? `\${${name}}` : `\${${name}:-${match[6]}}`;
  });
