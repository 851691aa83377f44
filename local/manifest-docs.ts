/** Writes docs/manifest.md and docs/manifest.schema.json from the schema and its words: `npm run docs`. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type JsonSchema, keysOf, manifestJsonSchema } from "../src/protocol/manifest/json-schema.ts";
import { WORDS } from "../src/protocol/manifest/words.ts";
import { markdownTable } from "./markdown.ts";

const DOCS = path.join(import.meta.dirname, "../docs");

const HEAD = `# The manifest: \`sluice.yaml\`

Every key, made from the schema that reads it (\`npm run docs\`). The smallest one:

\`\`\`yaml
app: shop
image: ghcr.io/acme/shop
port: 3000
environments:
  production:
    hostnames: [shop.example.com]
\`\`\`

\`sluice init\` writes it from what lies in the folder; \`sluice import\` from a compose.yaml, a Kamal deploy.yml or a fly.toml.
With the first line \`# yaml-language-server: $schema=https://<control>/api/manifest.schema.json\` an editor completes keys and marks mistakes.

- A **duration** is \`250ms\`, \`3s\`, \`10m\`, \`24h\` or \`7d\`. A **size** is \`512m\` or \`1g\`, by 1024. A **command** is a list, \`[npm, start]\`: no shell reads it.
- An unknown key is refused with its line, never ignored. Keys that begin with \`x-\`, at the top, are the file's own: put anchors there and merge them in with \`<<: *name\`.
- \`\${NAME}\` and \`\${NAME:-default}\` in \`env\` and \`image\` are filled in by the command line, when it applies or deploys.
- At most 64 KiB, one app.
`;

const KINDS: readonly [RegExp, string][] = [
  [/\(ms\|s\|m\|h\|d\)/, "duration"],
  [/\[kmg\]/, "size"],
  [/^\^\\d\+\(\\\.\\d\+\)\?%/, "percentage"],
];

function typeOf(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.map((one) => `\`${String(one)}\``).join(", ");
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  const kind = KINDS.find(([pattern]) => pattern.test(schema.pattern ?? ""));
  if (kind) return kind[1];
  const several = (schema.anyOf ?? []) as JsonSchema[];
  if (several.length > 0) return [...new Set(several.map(typeOf))].filter((one) => one !== "").join(" or ");
  if (schema.type === "array") return "list";
  if (schema.type === "object") return "map";
  if (schema.type === "integer") return "whole number";
  return schema.type === "string" ? "text" : String(schema.type ?? "");
}

function row([key, schema]: [string, JsonSchema]): string[] {
  const words = WORDS.get(key) ?? { what: "" };
  const example = words.example === undefined ? "" : `\`${words.example}\``;
  return [`\`${key.replaceAll(".*", ".<name>")}\``, typeOf(schema), words.what, words.default ?? "", example];
}

/** The text of docs/manifest.md. */
export function manifestDocs(): string {
  const keys = keysOf(manifestJsonSchema());
  const unique = keys.filter(([key], index) => keys.findIndex(([other]) => other === key) === index);
  const groups = Map.groupBy(unique, ([key]) => sectionOf(key));
  const sections = [...groups].map(([name, rows]) => {
    return `## ${name}\n\n${markdownTable(["key", "is", "for", "default", "example"], rows.map(row))}\n`;
  });
  return [HEAD, ...sections].join("\n");
}

const SECTIONS: Readonly<Record<string, string>> = {
  environments: "Environments",
  accessories: "Accessories",
  health: "Health",
  container: "Container",
  verify: "Signatures",
  processes: "Processes",
};
const sectionOf = (key: string): string => SECTIONS[key.split(".")[0] ?? ""] ?? "The app";

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(path.join(DOCS, "manifest.md"), manifestDocs());
  await writeFile(
    path.join(DOCS, "manifest.schema.json"),
    `${JSON.stringify(manifestJsonSchema(), null, 2)}\n`,
  );
}
