/** Two significant digits, and every digit of a large whole number: 4.1 %, 0.2 %, 100 %. */
export function percent(fraction: number): string {
  return `${Number((fraction * 100).toPrecision(2))} %`;
}
