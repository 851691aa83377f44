import { isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";

/** The line (1-based) on which a manifest's dotted key path stands, or as much of it as is there. */
export function lineOf(text: string, pointer: string): number | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, logLevel: "silent", merge: true });
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const key of pointer.split(".")) {
    const pair = isMap(node)
      ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      : undefined;
    const item = isSeq(node) ? node.items[Number(key)] : undefined;
    if (pair === undefined && item === undefined) break;
    node = pair ? pair.value : item;
    const at = pair ? (pair.key as { range?: readonly number[] }) : (item as { range?: readonly number[] });
    offset = at.range?.[0] ?? offset;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}
