type Labels = Readonly<Record<string, string>>;

/** How the format's version 0.0.4 is named to whoever asks. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * Metrics in Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). Written here, since the
 * client libraries count in a process of their own, and these numbers are rows that any isolate reads.
 */
export class Exposition {
  readonly #families: Family[] = [];

  /** `name` without the prefix. A family without samples is left out. */
  family(name: string, type: "counter" | "gauge" | "histogram", help: string): Family {
    const family = new Family(`sluice_${name}`, type, help);
    this.#families.push(family);
    return family;
  }

  text(): string {
    return this.#families.map((family) => family.text()).join("");
  }
}

export class Family {
  readonly #name: string;
  readonly #head: string;
  readonly #lines: string[] = [];

  constructor(name: string, type: string, help: string) {
    this.#name = name;
    this.#head = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  add(value: number, labels: Labels = {}): void {
    this.#line("", value, labels);
  }

  /** `buckets`: counts up to each bound, not cumulative; what is above all of them under `+Inf`. `sum` in seconds. */
  addHistogram(
    buckets: readonly (readonly [bound: string, count: number])[],
    sum: number,
    labels: Labels,
  ): void {
    let total = 0;
    for (const [le, count] of buckets) {
      total += count;
      this.#line("_bucket", total, { ...labels, le });
    }
    this.#line("_sum", sum, labels);
    this.#line("_count", total, labels);
  }

  text(): string {
    return this.#lines.length === 0 ? "" : this.#head + this.#lines.join("");
  }

  #line(suffix: string, value: number, labels: Labels): void {
    const pairs = Object.entries(labels).map(([name, text]) => `${name}="${escaped(text)}"`);
    const braces = pairs.length > 0 ? `{${pairs.join(",")}}` : "";
    this.#lines.push(`${this.#name}${suffix}${braces} ${value}\n`);
  }
}

const escaped = (text: string) => text.replace(/[\\"\n]/g, (char) => (char === "\n" ? "\\n" : `\\${char}`));
