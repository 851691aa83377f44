import { baseImage, type Variant, variantImage } from "../../local/images.ts";
import { theEngine } from "../support/engine/docker.ts";

/** Id of an image that has Node and nothing else: tests give it a program as command. */
export async function nodeImage(): Promise<string> {
  return variantImage(theEngine(), { from: await baseImage(theEngine()), tag: "sluice-test:node" });
}

/** Id of an image with more instructions on top of Node. */
export async function imageWith(tag: string, over: Pick<Variant, "lines" | "env">): Promise<string> {
  return variantImage(theEngine(), {
    from: await baseImage(theEngine()),
    tag: `sluice-test:${tag}`,
    ...over,
  });
}
