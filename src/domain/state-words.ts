/** A state as people read it: `rolled_back` is `rolled back`. */
export const inWords = (state: string): string => state.replaceAll("_", " ");
