import { expect, it } from "vitest";
import { dataSize } from "../../src/domain/data-size.ts";

it.each([
  [0, "0 B"],
  [812, "812 B"],
  [999, "999 B"],
  [18_817, "18.8 kB"],
  [999_499, "999 kB"],
  [999_500, "1.0 MB"],
  [14_512_000, "14.5 MB"],
  [130_400_000, "130 MB"],
  [52_300_000_000, "52.3 GB"],
  [2.5e15, "2500 TB"],
])("%i bytes are %s", (bytes, text) => expect(dataSize(bytes)).toBe(text));
