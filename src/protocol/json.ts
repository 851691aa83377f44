/** JSON that somebody else wrote; undefined: it is none, which the schema that reads it refuses in better words. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
