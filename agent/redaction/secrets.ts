import { formsOf } from "./forms.ts";

/** Shorter than whatever it stands for: no text outgrows the limit that it was cut to. */
const MASK = "***";
/** Of one scope; beyond them the oldest is forgotten. */
const MAX_VALUES = 1_000;
/** The least that this agent cuts a text to. */
const SHORTEST_CUT = 195;
/** So much of a value at a cut is taken for it. */
const CUT_OFF = 6;
const CUT_OFF_BEFORE = 12;

/**
 * The values that this agent injected, by whose they are: those of an environment (`shop/production`) are kept out of what is
 * told of that environment. By scope, so that nobody's secret can be chosen to make another's logs unreadable.
 */
export class Secrets {
  readonly #scopes = new Map<string, Map<string, string[]>>();

  learn(scope: string, values: Iterable<string>): void {
    const known = this.#scopes.get(scope) ?? new Map<string, string[]>();
    this.#scopes.set(scope, known);
    for (const value of values) {
      if (known.has(value)) continue;
      known.set(value, formsOf(value));
      const [oldest] = known.keys();
      if (known.size > MAX_VALUES && oldest !== undefined) known.delete(oldest);
    }
  }

  /** A text without that scope's values, in any of their forms, and without what a cut left of one. */
  hide(scope: string, text: string): string {
    const forms = [...(this.#scopes.get(scope)?.values() ?? [])].flat();
    return forms.length === 0 ? text : masked(text, forms);
  }

  /** The same for every scope: the agent's own log is no app's. */
  hideAll(text: string): string {
    return [...this.#scopes.keys()].reduce((rest, scope) => this.hide(scope, rest), text);
  }

  /** The same of all texts in a value of plain JSON. */
  hideIn<T>(scope: string, value: T): T {
    if (typeof value === "string") return this.hide(scope, value) as T;
    if (Array.isArray(value)) return value.map((one) => this.hideIn(scope, one)) as T;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.hideIn(scope, one)])) as T;
  }
}

function masked(text: string, forms: readonly string[]): string {
  let rest = text;
  for (const form of forms) if (rest.includes(form)) rest = rest.replaceAll(form, MASK);
  for (let cut = rest.indexOf("…"); cut >= 0; cut = rest.indexOf("…", cut + 1)) {
    const before = withoutEnd(rest.slice(0, cut), forms);
    rest = before + rest.slice(cut);
    cut = before.length;
  }
  if (text.length >= SHORTEST_CUT) rest = withoutEnd(rest, forms);
  return withoutStart(rest, forms);
}

/** Without the beginning of a value that a cut left at the end. */
function withoutEnd(text: string, forms: readonly string[]): string {
  for (const form of forms) {
    const begin = form.slice(0, CUT_OFF);
    const from = Math.max(0, text.length - form.length);
    for (let at = text.indexOf(begin, from); at >= 0; at = text.indexOf(begin, at + 1))
      if (form.startsWith(text.slice(at))) return text.slice(0, at) + MASK;
  }
  return text;
}

/** Without the end of a value that a cut left at the beginning. */
function withoutStart(text: string, forms: readonly string[]): string {
  for (const form of forms) {
    if (form.length <= CUT_OFF_BEFORE) continue;
    const end = form.slice(-CUT_OFF_BEFORE);
    for (
      let at = text.lastIndexOf(end, form.length - 1 - end.length);
      at >= 0;
      at = text.lastIndexOf(end, at - 1)
    ) {
      if (form.endsWith(text.slice(0, at + end.length))) return MASK + text.slice(at + end.length);
      if (at === 0) break;
    }
  }
  return text;
}
