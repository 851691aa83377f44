/** Of a text in UTF-8. Where it cannot be more than `most`, what it can be at the most: counting each statement's costs more than sending it. */
export const bytesOf = (text: string, most = 0): number =>
  text.length * 3 <= most ? text.length * 3 : new TextEncoder().encode(text).length;
